// SPDX-License-Identifier: MIT OR Apache-2.0
//! The running kernel, through `/dev/liveupdate` and kexec.
//!
//! The device has one opener at a time, and others want it too (the service manager at
//! shutdown): it is opened for each operation and closed after it.

use std::fs::File;
use std::mem;
use std::os::unix::fs::FileExt;

use luo_preflight::guest_clock::Clock;
use luo_sys::{
    Device, Errno, Failure, ParticipantEntry, Session, SessionEntry, SessionName, State, Token,
    Which, kexec, memfd,
};
use luo_varlink::{Orchestrator, Target};

use super::device::{MOMENT, PATIENCE, cancel, cancel_or_log, open, open_within, told_state};
use super::image;
use super::interface::{Kernel, Opener, Probe};
use crate::decide::config::Jump;
use crate::decide::failed::Failed;
use crate::decide::names::OWN_SESSION;
use crate::decide::record::MAX_LENGTH;
use crate::manager::inhibit::Inhibitor;
use crate::manager::shutdown::{self, Shutdown};

/// The record's token in the agent's own session.
const RECORD: Token = Token(0);

/// How memfds are handed over, and the two ways.
const MEMFDS: &str = "/sys/kernel/liveupdate/memfd";
const MAINLINES: &str = "memfd-v2";
const RUNS: &str = "runs";

/// The reason for a failure while another program has the device open: the check `running-device`
/// says which one.
const HELD: &str = "/dev/liveupdate, which another program has open (`luoctl check` says which)";

/// The agent's own session, and the memory in it for the record.
struct Own {
    session: Session,
    record: File,
    room: usize,
    /// Bytes of it that are written.
    written: usize,
}

/// The running kernel, and what this process has done in it for an update.
pub struct Linux {
    own: Option<Own>,
    /// A session with a record that is only kept open: the one that the previous kernel
    /// handed over, or that of an earlier process of the agent.
    received: Option<Session>,
    loaded: bool,
    /// Whether this agent, or the one before it, has brought the kernel into an update.
    asked: bool,
    /// Keeps others from shutting down while a kernel is loaded.
    inhibitor: Option<Inhibitor>,
    /// Takes that lock.
    lock: fn() -> Option<Inhibitor>,
    /// How memfds were handed over before this agent has chosen.
    memfds: Option<String>,
    /// Failures that the kernel had counted when all stood still.
    failures: Option<u64>,
}

impl Own {
    /// Writes a record behind what is written.
    fn append(&mut self, record: &[u8]) -> Result<(), Failed> {
        let end = self.written.checked_add(record.len());
        let end = end.filter(|end| *end <= self.room);
        let end = end.ok_or_else(|| Failed::new("the record", Errno::ENOSPC))?;
        let written = self.record.write_all_at(record, self.written as u64);
        written.map_err(|why| Failed::io("the record", &why))?;
        self.written = end;
        Ok(())
    }
}

impl Default for Linux {
    fn default() -> Self {
        Self {
            own: None,
            received: None,
            loaded: false,
            asked: false,
            inhibitor: None,
            lock: Inhibitor::take,
            memfds: None,
            failures: None,
        }
    }
}

impl Linux {
    /// Loads a kernel, while nobody else may shut the machine down.
    fn load_locked(&mut self, target: &Target, clock: Clock) -> Result<(), Failed> {
        self.inhibitor = (self.lock)();
        let loaded = image::load(target, clock);
        self.loaded = loaded.is_ok();
        if loaded.is_err() {
            self.inhibitor = None;
        }
        loaded
    }

    /// Drops the kernel that was loaded, if there is one.
    fn unload(&mut self) {
        if std::mem::take(&mut self.loaded)
            && let Err(why) = kexec::unload()
        {
            tracing::warn!("the kernel that was loaded stays loaded, and a reboot jumps: {why}");
        }
        self.inhibitor = None;
    }
}

impl Linux {
    /// The participant or file that has refused the jump, if it was the orchestrator that did.
    fn failure_of_the_jump(&self) -> Option<Failure> {
        let device = open_within(MOMENT).ok()?;
        let failure = device.failure().ok()?;
        (Some(failure.sequence) != self.failures).then_some(failure)
    }
}

impl Kernel for Linux {
    fn probe(&self) -> Result<Probe, Failed> {
        let none = |orchestrator| Probe {
            orchestrator,
            state: None,
            handover_abi: None,
            supplement_abi: None,
        };
        let device = match open_within(MOMENT) {
            Ok(device) => device,
            Err(why) if matches!(why.errno(), Errno::ENOENT | Errno::ENODEV) => {
                return Ok(none(Orchestrator::None));
            }
            // The program that has it may be in an update with it.
            Err(why) if why.errno() == Errno::EBUSY => {
                let state = told_state().ok_or(why)?;
                return Ok(Probe {
                    state: Some(state),
                    ..none(Orchestrator::Contract)
                });
            }
            Err(why) => return Err(why.into()),
        };
        match device.info() {
            Ok(info) => Ok(Probe {
                orchestrator: Orchestrator::Contract,
                state: info.state,
                handover_abi: Some(info.handover_abi),
                supplement_abi: Some(info.supplement_abi),
            }),
            // Mainline answers a call that it does not know with EINVAL.
            Err(why) if matches!(why.errno(), Errno::ENOTTY | Errno::EINVAL) => {
                Ok(none(Orchestrator::Mainline))
            }
            Err(why) => Err(why.into()),
        }
    }

    fn is_free(&self) -> Result<(), Failed> {
        match open_within(MOMENT) {
            Ok(_) => Ok(()),
            // That there is none is told elsewhere.
            Err(why) if matches!(why.errno(), Errno::ENOENT | Errno::ENODEV) => Ok(()),
            Err(why) => Err(why.into()),
        }
    }

    fn create(&self, name: &str) -> Result<Session, Failed> {
        let name = session_name(name)?;
        Ok(open()?.create_session(&name)?)
    }

    fn retrieve(&self, name: &str) -> Result<Session, Failed> {
        let name = session_name(name)?;
        Ok(open()?.retrieve_session(&name)?)
    }

    fn sessions(&self, opener: Opener) -> Result<Option<Vec<SessionEntry>>, Failed> {
        let patience = match opener {
            Opener::Moment => MOMENT,
            Opener::Waited => PATIENCE,
        };
        match open_within(patience)?.list_sessions(Which::All) {
            Ok(sessions) => Ok(Some(sessions)),
            Err(why) if matches!(why.errno(), Errno::ENOTTY | Errno::EINVAL) => Ok(None),
            Err(why) => Err(why.into()),
        }
    }

    fn try_load(&mut self, target: &Target, clock: Clock) -> Result<(), Failed> {
        // It is loaded for a moment only, and before there is a record: a reboot in it would jump,
        // and lose all.
        self.load_locked(target, clock)?;
        self.unload();
        Ok(())
    }

    fn hand_over_in_runs(&mut self, runs: bool) -> Result<(), Failed> {
        let Ok(now) = std::fs::read_to_string(MEMFDS) else {
            return Ok(());
        };
        let (now, wanted) = (now.trim_end(), if runs { RUNS } else { MAINLINES });
        if now == wanted {
            return Ok(());
        }
        match std::fs::write(MEMFDS, wanted) {
            Ok(()) => {
                self.memfds.get_or_insert_with(|| now.to_owned());
                Ok(())
            }
            // Mainline's way is read by every kernel: it only takes longer.
            Err(why) if runs => {
                tracing::warn!("memfds are handed over as {now}, which is slower: {MEMFDS}: {why}");
                Ok(())
            }
            Err(why) => Err(Failed::io(MEMFDS, &why)),
        }
    }

    fn participants(&self) -> Result<Option<Vec<ParticipantEntry>>, Failed> {
        match open_within(MOMENT).and_then(|device| device.list_participants()) {
            Ok(all) => Ok(Some(all)),
            Err(why) if matches!(why.errno(), Errno::ENOTTY | Errno::EINVAL) => Ok(None),
            Err(why) => Err(why.into()),
        }
    }

    fn load(&mut self, target: &Target, clock: Clock) -> Result<(), Failed> {
        self.load_locked(target, clock)
    }

    fn prepare(&mut self, record: &[u8], room: usize) -> Result<(), Failed> {
        let device = open()?;
        let name = session_name(OWN_SESSION)?;
        let session = device.create_session(&name)?;
        let room = record.len().saturating_add(room).min(MAX_LENGTH);
        let memory = memfd::create("luod-record", room as u64)?;
        memfd::add_seals(&memory, memfd::Seals::GROW | memfd::Seals::SHRINK)?;
        let mut own = Own {
            session,
            record: memory,
            room,
            written: 0,
        };
        own.append(record)?;
        own.session.preserve_fd(&own.record, RECORD)?;
        self.own = Some(own);
        // While sessions of an earlier update wait to be claimed, the state is UPDATED and
        // prepare would be refused: the kernel prepares in the jump then.
        if device.state() == Ok(State::Normal) {
            device.prepare().map_err(|why| refused(why, &device))?;
            self.asked = true;
        }
        Ok(())
    }

    fn freeze(&mut self, record: &[u8]) -> Result<(), Failed> {
        let own = self.own.as_mut();
        let own = own.ok_or_else(|| Failed::new("the record", Errno::ENOENT))?;
        own.append(record)?;
        let device = open()?;
        if device.state() == Ok(State::Prepared) {
            device.freeze().map_err(|why| refused(why, &device))?;
        }
        // An error from here on is one of the jump. Mainline's orchestrator does not tell its reason.
        self.failures = device.failure().ok().map(|failure| failure.sequence);
        Ok(())
    }

    fn seal(&self, tail: &dyn Fn(usize) -> Vec<u8>) -> Result<(), Failed> {
        let own = self.own.as_ref();
        let own = own.ok_or_else(|| Failed::new("the record", Errno::ENOENT))?;
        let tail = tail(own.room.saturating_sub(own.written));
        let written = own.record.write_all_at(&tail, own.written as u64);
        written.map_err(|why| Failed::io("the record", &why))?;
        // The seal is not `WRITE`: that one waits until nobody has the pages pinned, and
        // preserving them pins them. Nobody has them mapped, so this one is as good.
        let seals = memfd::Seals::FUTURE_WRITE | memfd::Seals::SEAL;
        memfd::add_seals(&own.record, seals)?;
        Ok(())
    }

    fn undo(&mut self) {
        // An update that another program has begun is not this agent's to undo.
        if mem::take(&mut self.asked) {
            cancel_or_log();
        }
        self.own = None;
        self.received = None;
        self.unload();
        if let Some(before) = self.memfds.take()
            && let Err(why) = std::fs::write(MEMFDS, &before)
        {
            tracing::warn!("{MEMFDS} is not {before} again: {why}");
        }
    }

    fn abandon(&self) {
        cancel_or_log();
        // If no image is loaded, or this one cannot be unloaded, nothing is lost.
        let _ = kexec::unload();
    }

    fn cancel(&mut self) -> Result<Option<State>, Failed> {
        let was = cancel(MOMENT).map_err(|why| match why.errno() {
            Errno::EBUSY => Failed::new(HELD, Errno::EBUSY),
            _ => why.into(),
        })?;
        if was.is_some() {
            // If no image is loaded, or this one cannot be unloaded, nothing is lost.
            let _ = kexec::unload();
        }
        Ok(was)
    }

    fn own_session(&self) -> Option<Session> {
        let own = self.own.as_ref().map(|own| &own.session);
        own.or(self.received.as_ref())?.try_clone().ok()
    }

    fn go_on(&mut self, own: Option<Session>) {
        self.received = own;
        self.loaded = true;
        self.asked = true;
    }

    fn settle(&mut self) {
        // A kexec unmounts nothing and writes nothing back, so that is done here.
        rustix::fs::sync();
    }

    fn jump(&mut self, how: Jump) -> Result<(), Failed> {
        // If it does not come about, the kernel may be frozen all the same.
        self.asked = true;
        match how {
            Jump::Direct => {
                let why = kexec::execute();
                Err(Failed::event(why, self.failure_of_the_jump()))
            }
            Jump::Systemctl => {
                // It would keep this very shutdown from beginning.
                if let Some(inhibitor) = self.inhibitor.take() {
                    inhibitor.release();
                }
                shutdown::begin()
            }
        }
    }

    fn shutdown(&self) -> Shutdown {
        shutdown::standing()
    }

    fn take_record(
        &mut self,
        kept: Option<Session>,
        received: &mut dyn FnMut(&Session),
    ) -> Result<Option<Vec<u8>>, Failed> {
        // One that was taken before, and could not be read.
        let before = self.received.take();
        let kept = before.or_else(|| kept.filter(is_of_previous));
        let session = match kept.map_or_else(|| self.retrieve(OWN_SESSION), Ok) {
            Ok(session) => session,
            Err(why) if matches!(why.errno(), Errno::ENOENT | Errno::ENODEV) => return Ok(None),
            Err(why) => return Err(why),
        };
        received(&session);
        let read = read_record(&session);
        self.received = Some(session);
        read.map(Some)
    }

    fn finish_record(&mut self) {
        if let Some(session) = self.received.take()
            && let Err(why) = session.finish()
        {
            tracing::warn!("the record's session: {why}");
        }
    }

    fn finish(&self, session: &Session) -> Result<(), Failed> {
        Ok(session.finish()?)
    }
}

/// Whether a session comes from the previous kernel, and is not finished yet.
fn is_of_previous(session: &Session) -> bool {
    let taken = session.retrieve_fd(RECORD);
    // From one for the next kernel there is nothing to be had, whatever the token.
    !taken.is_err_and(|why| matches!(why.errno(), Errno::EINVAL | Errno::ENOENT))
}

/// An event that the kernel refused, with the participant that vetoed it.
fn refused(why: luo_sys::Error, device: &Device) -> Failed {
    Failed::event(why, device.failure().ok())
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
    SessionName::from_shown(name).map_err(|_| Failed::new("the session's name", Errno::EINVAL))
}

/// The running kernel's release.
#[must_use]
pub fn release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Any reboot jumps while a kernel is loaded, and be it for a moment.
    #[test]
    fn nobody_else_shuts_down_while_a_kernel_is_loaded() {
        static TAKEN: AtomicUsize = AtomicUsize::new(0);
        let mut linux = Linux {
            lock: || {
                TAKEN.fetch_add(1, Ordering::Relaxed);
                Some(Inhibitor::made_up())
            },
            ..Linux::default()
        };
        let nothing = Target::default();
        let loads = [Linux::try_load, Linux::load];
        for (times, load) in (1..).zip(loads) {
            // There is nothing to be loaded, and by then the lock was there.
            assert!(load(&mut linux, &nothing, Clock::default()).is_err());
            assert_eq!(TAKEN.load(Ordering::Relaxed), times);
            assert!(linux.inhibitor.is_none() && !linux.loaded);
        }
    }
}
