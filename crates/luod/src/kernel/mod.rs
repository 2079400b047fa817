// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's half of an update. It blocks, so it has a thread of its own
//! ([`Worker`]); the order of its calls is the order in which they were asked for.
//!
//! `/dev/liveupdate` has one opener at a time, and others want it too (the service
//! manager at shutdown): it is opened for each operation and closed after it.

#[cfg(test)]
pub(crate) mod fake;
mod image;
mod worker;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use luo_sys::{
    Device, Errno, Session, SessionEntry, SessionName, State, Token, Which, kexec, memfd,
};
use luo_varlink::{Orchestrator, Target};

use crate::config::Jump;
use crate::names::OWN_SESSION;
use crate::record::MAX_LENGTH;
use crate::shutdown::{self, Shutdown};

pub use crate::decide::failed::Failed;
pub use image::command_line;
pub use worker::Worker;

/// The record's token in the agent's own session.
const RECORD: Token = Token(0);

/// How long the device may be somebody else's.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is tried in that time.
const AGAIN: Duration = Duration::from_millis(5);

/// How the kernel stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Which orchestrator it has.
    pub orchestrator: Orchestrator,
    /// Its state, if it has one.
    pub state: Option<State>,
    /// The handover format that it writes, if it says so.
    pub handover_abi: Option<String>,
    /// The format of what goes beside it, if it says so.
    pub contract_abi: Option<String>,
}

/// The agent's own session, and the memory in it for the record.
struct Own {
    session: Session,
    record: File,
    room: usize,
    /// Bytes of it that are written.
    written: usize,
}

/// The kernel, as the worker's thread has it.
#[derive(Default)]
pub struct Kernel {
    own: Option<Own>,
    /// A session with a record that is only kept open: the one that the previous kernel
    /// handed over, or that of an earlier process of the agent.
    received: Option<Session>,
    loaded: bool,
    /// A made-up kernel, for tests of the agent.
    #[cfg(test)]
    pub(crate) fake: Option<fake::Fake>,
}

impl Kernel {
    /// Finds out what orchestrator there is. Changes nothing but that the first open
    /// after a jump takes the sessions over.
    ///
    /// # Errors
    /// The device is there and cannot be opened.
    pub fn probe(&self) -> Result<Probe, Failed> {
        let none = |orchestrator| Probe {
            orchestrator,
            state: None,
            handover_abi: None,
            contract_abi: None,
        };
        let device = match open() {
            Ok(device) => device,
            Err(why) if matches!(why.errno(), Errno::ENOENT | Errno::ENODEV) => {
                return Ok(none(Orchestrator::None));
            }
            Err(why) => return Err(why.into()),
        };
        match device.info() {
            Ok(info) => Ok(Probe {
                orchestrator: Orchestrator::Contract,
                state: info.state,
                handover_abi: Some(info.handover_abi),
                contract_abi: Some(info.contract_abi),
            }),
            // Mainline says EINVAL of what it does not know.
            Err(why) if matches!(why.errno(), Errno::ENOTTY | Errno::EINVAL) => {
                Ok(none(Orchestrator::Mainline))
            }
            Err(why) => Err(why.into()),
        }
    }

    /// Makes a session.
    ///
    /// # Errors
    /// As the kernel answers.
    pub fn create(&self, name: &str) -> Result<Session, Failed> {
        #[cfg(test)]
        if let Some(fake) = &self.fake {
            return fake.create(name);
        }
        let name = session_name(name)?;
        Ok(open()?.create_session(&name)?)
    }

    /// Takes a session of the previous kernel.
    ///
    /// # Errors
    /// As the kernel answers.
    pub fn retrieve(&self, name: &str) -> Result<Session, Failed> {
        #[cfg(test)]
        if let Some(fake) = &self.fake {
            return fake.retrieve(name);
        }
        let name = session_name(name)?;
        Ok(open()?.retrieve_session(&name)?)
    }

    /// The sessions that the kernel knows, if it tells.
    ///
    /// # Errors
    /// As the kernel answers.
    pub fn sessions(&self) -> Result<Option<Vec<SessionEntry>>, Failed> {
        #[cfg(test)]
        if let Some(fake) = &self.fake {
            return fake.sessions();
        }
        match open()?.list_sessions(Which::All) {
            Ok(sessions) => Ok(Some(sessions)),
            Err(why) if matches!(why.errno(), Errno::ENOTTY | Errno::EINVAL) => Ok(None),
            Err(why) => Err(why.into()),
        }
    }

    /// Loads the kernel to jump into.
    ///
    /// # Errors
    /// A file cannot be opened; as the kernel answers.
    pub fn load(&mut self, target: &Target) -> Result<(), Failed> {
        #[cfg(test)]
        if let Some(fake) = &self.fake {
            return fake.load();
        }
        image::load(target)?;
        self.loaded = true;
        // Most of what other programs have written is on the disks from here on, which
        // leaves little for the moment of the jump.
        rustix::fs::sync();
        Ok(())
    }

    /// All workloads are ready: sets memory aside for the record, and has an
    /// orchestrator that has states prepare.
    ///
    /// # Errors
    /// As the kernel answers; [`Kernel::undo`] cleans up.
    pub fn prepare(&mut self, room: usize) -> Result<(), Failed> {
        #[cfg(test)]
        if let Some(fake) = &self.fake {
            return fake.prepare();
        }
        let device = open()?;
        let name = session_name(OWN_SESSION)?;
        let session = device.create_session(&name)?;
        let record = memfd::create("luod-record", room as u64)?;
        memfd::add_seals(&record, memfd::Seals::GROW | memfd::Seals::SHRINK)?;
        session.preserve_fd(&record, RECORD)?;
        self.own = Some(Own {
            session,
            record,
            room,
            written: 0,
        });
        // While sessions of others wait to be claimed the kernel prepares in the jump.
        if device.state() == Ok(State::Normal) {
            device
                .prepare()
                .map_err(|why| Failed::event(why, &device))?;
        }
        Ok(())
    }

    /// All workloads stand still: writes the record, and has an orchestrator that has
    /// states freeze.
    ///
    /// # Errors
    /// As the kernel answers; [`Kernel::undo`] cleans up.
    pub fn freeze(&mut self, record: &[u8]) -> Result<(), Failed> {
        #[cfg(test)]
        if let Some(fake) = &self.fake {
            return fake.freeze(record);
        }
        let own = self.own.as_mut().filter(|own| record.len() <= own.room);
        let own = own.ok_or_else(|| Failed::new("the record", Errno::ENOSPC))?;
        let written = own.record.write_all_at(record, 0);
        written.map_err(|why| Failed::io("the record", &why))?;
        own.written = record.len();
        let device = open()?;
        if device.state() == Ok(State::Prepared) {
            device.freeze().map_err(|why| Failed::event(why, &device))?;
        }
        Ok(())
    }

    /// Adds to the record what happened since it was written, and seals it. `tail` makes
    /// the bytes for the room that is left.
    ///
    /// # Errors
    /// As the kernel answers. The record is as good without.
    pub fn seal(&self, tail: impl FnOnce(usize) -> Vec<u8>) -> Result<(), Failed> {
        #[cfg(test)]
        if let Some(fake) = &self.fake {
            fake.seal(tail(usize::MAX));
            return Ok(());
        }
        let own = self.own.as_ref();
        let own = own.ok_or_else(|| Failed::new("the record", Errno::ENOENT))?;
        let tail = tail(own.room.saturating_sub(own.written));
        let written = own.record.write_all_at(&tail, own.written as u64);
        written.map_err(|why| Failed::io("the record", &why))?;
        // Not `WRITE`: that waits until nobody has the pages pinned, and preserving
        // them does just that. Nobody has them mapped, so this one is as good.
        let seals = memfd::Seals::FUTURE_WRITE | memfd::Seals::SEAL;
        memfd::add_seals(&own.record, seals)?;
        Ok(())
    }

    /// Takes back all that an update has done in the kernel.
    pub fn undo(&mut self) {
        #[cfg(test)]
        if let Some(fake) = &self.fake {
            return fake.cancel();
        }
        self.cancel();
        self.own = None;
        self.received = None;
        if std::mem::take(&mut self.loaded) {
            // The image stays loaded then, which does no harm.
            if let Err(why) = kexec::unload() {
                tracing::warn!("the kernel that was loaded stays loaded: {why}");
            }
        }
    }

    /// Has an orchestrator that has states cancel, if it is prepared or frozen.
    pub fn cancel(&self) {
        #[cfg(test)]
        if let Some(fake) = &self.fake {
            return fake.cancel();
        }
        let cancelled = open().and_then(|device| match device.state() {
            Ok(State::Prepared | State::Frozen) => device.cancel(),
            _ => Ok(()),
        });
        match cancelled {
            Ok(()) => {}
            Err(why) if matches!(why.errno(), Errno::ENOENT | Errno::ENODEV) => {}
            Err(why) => tracing::error!("the kernel's update could not be cancelled: {why}"),
        }
    }

    /// A copy of the agent's own session, if there is one.
    #[must_use]
    pub fn own_session(&self) -> Option<Session> {
        self.own.as_ref()?.session.try_clone().ok()
    }

    /// Goes on in an update whose jump an earlier process of the agent has begun: a
    /// kernel is loaded, and the agent's own session may be at hand.
    pub fn go_on(&mut self, own: Option<Session>) {
        self.received = own;
        self.loaded = true;
    }

    /// Jumps. It returns if the service manager does that, which takes a while.
    ///
    /// # Errors
    /// It was refused.
    pub fn jump(&mut self, how: Jump) -> Result<(), Failed> {
        #[cfg(test)]
        if let Some(fake) = &self.fake {
            return fake.jump();
        }
        match how {
            Jump::Direct => {
                // A kexec unmounts nothing and writes nothing back.
                rustix::fs::sync();
                Err(kexec::execute().into())
            }
            Jump::Systemctl => shutdown::begin(),
        }
    }

    /// How the shutdown stands that [`Kernel::jump`] began.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        #[cfg(test)]
        if let Some(fake) = &self.fake {
            return fake.shutdown();
        }
        shutdown::standing()
    }

    /// The record that the previous kernel handed over, if there is one, as bytes that
    /// nobody has judged yet. Its session stays open until [`Kernel::received`].
    ///
    /// # Errors
    /// As the kernel answers.
    pub fn take_record(&mut self) -> Result<Option<Vec<u8>>, Failed> {
        let session = match self.retrieve(OWN_SESSION) {
            Ok(session) => session,
            Err(why) if matches!(why.errno(), Errno::ENOENT | Errno::ENODEV) => return Ok(None),
            Err(why) => return Err(why),
        };
        let read = read_record(&session);
        self.received = Some(session);
        read.map(Some)
    }

    /// The record has been read and kept elsewhere: its session can go.
    pub fn finish_record(&mut self) {
        if let Some(session) = self.received.take()
            && let Err(why) = session.finish()
        {
            tracing::warn!("the record's session: {why}");
        }
    }

    /// Finishes a session of the previous kernel.
    ///
    /// # Errors
    /// As the kernel answers.
    pub fn finish(&self, session: &Session) -> Result<(), Failed> {
        #[cfg(test)]
        if let Some(fake) = &self.fake {
            return fake.finish(session);
        }
        Ok(session.finish()?)
    }
}

fn read_record(session: &Session) -> Result<Vec<u8>, Failed> {
    let file = File::from(session.retrieve_fd(RECORD)?);
    let io = |why: std::io::Error| Failed::io("the record", &why);
    let length = usize::try_from(file.metadata().map_err(io)?.len()).unwrap_or(usize::MAX);
    if length > MAX_LENGTH {
        return Err(Failed::new("the record", Errno::EFBIG));
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0).map_err(io)?;
    Ok(bytes)
}

fn session_name(name: &str) -> Result<SessionName, Failed> {
    SessionName::new(name).map_err(|_| Failed::new("the session's name", Errno::EINVAL))
}

/// Opens the device; somebody else may have it for a moment.
fn open() -> luo_sys::Result<Device> {
    let begun = Instant::now();
    loop {
        match Device::open() {
            Err(why) if why.errno() == Errno::EBUSY && begun.elapsed() < PATIENCE => {
                std::thread::sleep(AGAIN);
            }
            opened => return opened,
        }
    }
}

/// Another descriptor of a session, to be given away.
///
/// # Errors
/// No descriptor is left.
pub fn duplicate(session: &Session) -> Result<OwnedFd, Failed> {
    Ok(session.try_clone()?.into_fd())
}
