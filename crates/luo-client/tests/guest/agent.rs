// SPDX-License-Identifier: MIT OR Apache-2.0
//! An agent of one workload: it takes it through an update in each boot but the last. In
//! the first one it calls an update off and dies before that; after a jump it dies in each
//! call by which the workload comes back, before it does what it is asked for or after that; and
//! its kernel hangs in a FINISH for a while.

use core::fmt::Debug;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::Command;

use luo_client::agent::{Event, EventKind, Phase, Refusal, Registered, Report, Step};
use luo_client::{Device, Session, SessionName};
use luo_varlink::client::{Claimed, Declared, Method, Next};
use luo_varlink::paths;
use rustix::io::Errno;
use serde::Serialize;
use zlink_core::{Connection, Reply};

use crate::wire::Stream;
use crate::{Result, jump};

/// Runs `program` with an agent. The last boot ends when the workload waits for an event,
/// those before with a jump.
pub(crate) fn run(program: &str, boot: usize, boots: usize) -> Result<()> {
    // Not by the number of the process: machines beside each other may count their own.
    let folder = tempfile::tempdir()?;
    let listener = UnixListener::bind(folder.path().join(paths::CLIENT))?;
    let mut child = Command::new(program)
        .env(paths::RUNTIME_VARIABLE, folder.path())
        .spawn()?;
    let mut agent = Agent {
        connection: accept(&listener)?,
        listener,
        bad_day: (boot == 0).then_some(BadDay::Late),
        deaths: match boot {
            0 => Vec::new(),
            _ => DEATHS.to_vec(),
        },
        dies_after: boot.is_multiple_of(2),
        busy: vec![Errno::BUSY, Errno::TIMEDOUT],
        was_busy: false,
        claimable: boot > 0,
        claimed: None,
        made: None,
        asked: None,
        answered: None,
    };
    while agent.serve()? {}
    // The workload has it open.
    folder.close()?;
    if boot + 1 < boots {
        return jump();
    }
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn accept(listener: &UnixListener) -> Result<Connection<Stream>> {
    let (stream, _) = listener.accept()?;
    Ok(Connection::new(Stream(stream)))
}

/// The mishaps of a workload before all goes well, one after the other.
#[derive(Clone, Copy)]
enum BadDay {
    /// Its first answer is not expected any more,
    Late,
    /// because the update is off.
    Off,
    /// Then the agent dies.
    Dies,
    /// The next one is to be given the session.
    Back,
}

/// The calls in which an agent is lost after a jump, the last first.
const DEATHS: [&str; 4] = ["CreateSession", "FinishSession", "Restored", "Claim"];

struct Agent {
    listener: UnixListener,
    connection: Connection<Stream>,
    /// The outcome that is expected.
    bad_day: Option<BadDay>,
    /// The calls in which it is still to die, and whether it has done its part by then.
    deaths: Vec<&'static str>,
    dies_after: bool,
    /// What it answers to FinishSession before the kernel does that, the last first.
    busy: Vec<Errno>,
    was_busy: bool,
    /// Whether it knows a session that can be claimed.
    claimable: bool,
    /// The session that came from the previous kernel.
    claimed: Option<Session>,
    /// The one for the next.
    made: Option<Session>,
    asked: Option<Step>,
    answered: Option<Step>,
}

impl Agent {
    /// Serves one call; says whether others are to follow.
    fn serve(&mut self) -> Result<bool> {
        let received = pollster::block_on(self.connection.receive_call::<Method>());
        // Who has not waited for the kernel may connect again.
        if let (Err(zlink_core::Error::UnexpectedEof), true) = (&received, self.was_busy) {
            self.connection = accept(&self.listener)?;
            return Ok(true);
        }
        let (call, mut fds) = received?;
        let dies = self
            .deaths
            .last()
            .is_some_and(|death| *death == word(call.method()));
        if dies && !self.dies_after {
            return self.dies();
        }
        match call.method() {
            Method::Register { workload, .. } => self.register(workload)?,
            Method::Claim { session } => {
                let incoming = self.made.is_none();
                if incoming && self.claimed.is_none() {
                    let name = SessionName::new(session)?;
                    self.claimed = Some(Device::open()?.retrieve_session(&name)?);
                }
                if dies {
                    return self.dies();
                }
                let session = self.made.as_ref().or(self.claimed.as_ref());
                let copy = copy(session.ok_or("there is no session")?)?;
                self.reply(Claimed { incoming }, Some(copy))?;
            }
            Method::Restored if dies => return self.dies(),
            Method::Restored => self.done()?,
            // Where it dies after it has done that, it is not asked again.
            Method::FinishSession { .. } if !dies && !self.busy.is_empty() => {
                self.was_busy = true;
                let errno = self.busy.pop().ok_or("nothing")?.raw_os_error();
                self.refuse(Refusal::Kernel {
                    call: "FINISH".into(),
                    errno,
                    message: "it has not come back".into(),
                })?;
            }
            Method::FinishSession { .. } => {
                self.claimed.take().ok_or("nothing is claimed")?.finish()?;
                self.claimable = false;
                if dies {
                    return self.dies();
                }
                self.done()?;
            }
            Method::CreateSession { name } => {
                let session = Device::open()?.create_session(&SessionName::new(name)?)?;
                let copy = copy(&session)?;
                self.made = Some(session);
                if dies {
                    self.claimable = true;
                    return self.dies();
                }
                self.reply(Empty {}, Some(copy))?;
            }
            Method::Declare { .. } => {
                let (ok, checks) = (true, vec![]);
                let report = Report { ok, checks };
                self.reply(Declared { report }, None)?;
            }
            Method::AttachSession { name } if self.bad_day.is_none() => {
                // One that it has already, unless it is finished.
                assert!(self.claimed.is_some(), "{name} is of no use any more");
                self.done()?;
            }
            Method::AttachSession { name } => {
                assert!(matches!(self.bad_day.take(), Some(BadDay::Back)));
                let session = Session::from_fd(fds.pop().ok_or("no descriptor")?);
                assert_eq!(session.name()?, SessionName::new(name)?);
                self.made = Some(session);
                self.done()?;
            }
            Method::NextEvent => return self.next_event(),
            Method::Answer { .. } if matches!(self.bad_day, Some(BadDay::Late)) => {
                self.bad_day = Some(BadDay::Off);
                self.refuse(Refusal::NotExpected {
                    reason: "the update is off".into(),
                })?;
            }
            Method::Answer { step, veto, .. } => {
                assert_eq!((self.asked, veto), (Some(*step), &None));
                self.answered = Some(*step);
                self.done()?;
            }
            other => return Err(format!("unexpected: {other:?}").into()),
        }
        Ok(true)
    }

    fn register(&mut self, workload: &str) -> Result<()> {
        let (phase, claimable) = match self.claimable {
            true => (Phase::Updated, vec![workload.into()]),
            false => (Phase::Normal, vec![]),
        };
        self.reply(Registered { phase, claimable }, None)
    }

    /// It is lost, with what was asked of it, and the next one is there.
    fn dies(&mut self) -> Result<bool> {
        self.deaths.pop();
        self.succeed()?;
        Ok(true)
    }

    fn succeed(&mut self) -> Result<()> {
        let stream = &self.connection.read().read_half().0;
        stream.shutdown(Shutdown::Both)?;
        self.connection = accept(&self.listener)?;
        Ok(())
    }

    fn next_event(&mut self) -> Result<bool> {
        match self.bad_day {
            Some(BadDay::Off) => {
                self.bad_day = Some(BadDay::Dies);
                self.asked = None;
                self.event(EventKind::Cancel)?;
                return Ok(true);
            }
            Some(BadDay::Dies) => {
                self.bad_day = Some(BadDay::Back);
                self.made = None;
                self.succeed()?;
                return Ok(true);
            }
            _ => {}
        }
        assert_eq!(self.asked, self.answered);
        let (kind, step) = match self.answered {
            None => (EventKind::Prepare, Step::Prepare),
            Some(Step::Prepare) => (EventKind::Freeze, Step::Freeze),
            Some(Step::Freeze) => return Ok(false),
        };
        self.asked = Some(step);
        self.event(kind)?;
        Ok(true)
    }

    fn event(&mut self, kind: EventKind) -> Result<()> {
        let event = Event {
            kind,
            update: "u1".into(),
            deadline_ms: 5000,
            reason: None,
        };
        self.reply(Next { event: Some(event) }, None)
    }

    fn refuse(&mut self, refusal: Refusal) -> Result<()> {
        let sending = self.connection.send_error(&refusal, Vec::new());
        Ok(pollster::block_on(sending)?)
    }

    fn done(&mut self) -> Result<()> {
        self.reply(Empty {}, None)
    }

    fn reply(&mut self, parameters: impl Serialize + Debug, fd: Option<OwnedFd>) -> Result<()> {
        let reply = Reply::new(Some(parameters));
        let sending = self.connection.send_reply(&reply, fd.into_iter().collect());
        Ok(pollster::block_on(sending)?)
    }
}

/// The word of a call in which an agent may die.
fn word(method: &Method) -> &'static str {
    match method {
        Method::Claim { .. } => "Claim",
        Method::Restored => "Restored",
        Method::FinishSession { .. } => "FinishSession",
        Method::CreateSession { .. } => "CreateSession",
        _ => "another",
    }
}

#[derive(Debug, Serialize)]
struct Empty {}

fn copy(session: &Session) -> Result<OwnedFd> {
    Ok(session.as_fd().try_clone_to_owned()?)
}
