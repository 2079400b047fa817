// SPDX-License-Identifier: MIT OR Apache-2.0
//! An agent of one workload: it takes it through an update in each boot but the last.

use core::fmt::Debug;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::Command;

use luo_client::agent::{Event, EventKind, Phase, Registered, Report, Step};
use luo_client::{Device, Session, SessionName};
use luo_varlink::client::{Claimed, Declared, Method, Next};
use luo_varlink::paths;
use serde::Serialize;
use zlink_core::{Connection, Reply};

use crate::wire::Stream;
use crate::{Result, jump};

/// Runs `program` with an agent. The last boot ends when the workload waits for an event,
/// those before with a jump.
pub(crate) fn run(program: &str, boot: usize, boots: usize) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("luo-client-guest-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let listener = UnixListener::bind(folder.join(paths::CLIENT))?;
    let mut child = Command::new(program)
        .env(paths::RUNTIME_VARIABLE, &folder)
        .spawn()?;
    let (stream, _) = listener.accept()?;
    // The workload has it open.
    std::fs::remove_dir_all(&folder)?;
    let mut agent = Agent {
        connection: Connection::new(Stream(stream)),
        updated: boot > 0,
        claimed: None,
        made: None,
        asked: None,
        answered: None,
    };
    while agent.serve()? {}
    if boot + 1 < boots {
        return jump();
    }
    child.kill()?;
    child.wait()?;
    Ok(())
}

struct Agent {
    connection: Connection<Stream>,
    updated: bool,
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
        let (call, _fds) = pollster::block_on(self.connection.receive_call::<Method>())?;
        match call.method() {
            Method::Register { workload, .. } => self.register(workload)?,
            Method::Claim { session } => {
                let session = Device::open()?.retrieve_session(&SessionName::new(session)?)?;
                self.reply(Claimed { incoming: true }, Some(copy(&session)?))?;
                self.claimed = Some(session);
            }
            Method::Restored => self.done()?,
            Method::FinishSession { .. } => {
                self.claimed.take().ok_or("nothing is claimed")?.finish()?;
                self.done()?;
            }
            Method::CreateSession { name } => {
                let session = Device::open()?.create_session(&SessionName::new(name)?)?;
                self.reply(Empty {}, Some(copy(&session)?))?;
                self.made = Some(session);
            }
            Method::Declare { .. } => {
                let (ok, checks) = (true, vec![]);
                let report = Report { ok, checks };
                self.reply(Declared { report }, None)?;
            }
            Method::NextEvent => return self.next_event(),
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
        let (phase, claimable) = match self.updated {
            true => (Phase::Updated, vec![workload.into()]),
            false => (Phase::Normal, vec![]),
        };
        self.reply(Registered { phase, claimable }, None)
    }

    fn next_event(&mut self) -> Result<bool> {
        assert_eq!(self.asked, self.answered);
        let (kind, step) = match self.answered {
            None => (EventKind::Prepare, Step::Prepare),
            Some(Step::Prepare) => (EventKind::Freeze, Step::Freeze),
            Some(Step::Freeze) => return Ok(false),
        };
        self.asked = Some(step);
        let event = Event {
            kind,
            update: "u1".into(),
            deadline_ms: 5000,
            reason: None,
        };
        self.reply(Next { event: Some(event) }, None)?;
        Ok(true)
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

#[derive(Debug, Serialize)]
struct Empty {}

fn copy(session: &Session) -> Result<OwnedFd> {
    Ok(session.as_fd().try_clone_to_owned()?)
}
