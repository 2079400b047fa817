// SPDX-License-Identifier: MIT OR Apache-2.0
//! All that the agent asks of a kernel.

use std::os::fd::OwnedFd;

use luo_preflight::guest_clock::Clock;
use luo_sys::{ParticipantEntry, Session, SessionEntry, State};
use luo_varlink::{Orchestrator, Target};

use crate::decide::config::Jump;
use crate::decide::failed::Failed;
use crate::manager::shutdown::Shutdown;

/// How the kernel stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Which orchestrator it has.
    pub orchestrator: Orchestrator,
    /// Its state, if it has one.
    pub state: Option<State>,
    /// The handover format that it writes, if it says so.
    pub handover_abi: Option<String>,
    /// The format of the supplement to it, if it says so.
    pub supplement_abi: Option<String>,
}

/// How another program is waited for that has the device open.
#[derive(Clone, Copy, Debug)]
pub enum Opener {
    /// For a moment: somebody only looks, and others stand behind that.
    Moment,
    /// As long as for a step of an update.
    Waited,
}

/// The calls that the agent makes of a kernel, and of the service manager's shutdown, which
/// is another way to jump. Each call may block.
pub trait Kernel {
    /// Finds out what orchestrator there is. This changes nothing, except that the first
    /// open after a jump takes the sessions over.
    ///
    /// # Errors
    /// The device is there and cannot be opened.
    fn probe(&self) -> Result<Probe, Failed>;

    /// Finds out whether somebody else has the device, for longer than a moment.
    ///
    /// # Errors
    /// It is open elsewhere, or cannot be opened.
    fn is_free(&self) -> Result<(), Failed>;

    /// Makes a session.
    ///
    /// # Errors
    /// As the kernel answers.
    fn create(&self, name: &str) -> Result<Session, Failed>;

    /// Takes a session of the previous kernel.
    ///
    /// # Errors
    /// As the kernel answers.
    fn retrieve(&self, name: &str) -> Result<Session, Failed>;

    /// Finishes a session of the previous kernel.
    ///
    /// # Errors
    /// As the kernel answers.
    fn finish(&self, session: &Session) -> Result<(), Failed>;

    /// The sessions that the kernel knows; `None` if it has no call that lists them.
    ///
    /// # Errors
    /// As the kernel answers.
    fn sessions(&self, opener: Opener) -> Result<Option<Vec<SessionEntry>>, Failed>;

    /// Finds out whether the kernel to jump into can be loaded: loads it, and drops it again.
    ///
    /// # Errors
    /// As [`Kernel::load`].
    fn try_load(&mut self, target: &Target, clock: Clock) -> Result<(), Failed>;

    /// Has memfds that are preserved from now on handed over in runs of pages, which only a
    /// kernel with the handler in Rust reads, or as mainline's kernels read them, too. Where
    /// there is no choice, nothing happens. [`Kernel::undo`] puts it back.
    ///
    /// # Errors
    /// They are handed over in runs, which is not wanted, and that cannot be changed.
    fn hand_over_in_runs(&mut self, runs: bool) -> Result<(), Failed>;

    /// The participants in updates; `None` if the kernel has no call that lists them.
    ///
    /// # Errors
    /// As the kernel answers. Somebody else has the device; that is not waited for.
    fn participants(&self) -> Result<Option<Vec<ParticipantEntry>>, Failed>;

    /// Loads the kernel to jump into. As long as it is loaded, the service manager is kept
    /// from shutting down as far as it lets itself be. Its command line gets what guests' clocks
    /// depend on.
    ///
    /// # Errors
    /// A file cannot be opened; as the kernel answers.
    fn load(&mut self, target: &Target, clock: Clock) -> Result<(), Failed>;

    /// Writes a record, once all workloads are ready, in case somebody else jumps, with
    /// `room` bytes behind it for the next; and has an orchestrator with states prepare.
    ///
    /// # Errors
    /// As the kernel answers; [`Kernel::undo`] cleans up.
    fn prepare(&mut self, record: &[u8], room: usize) -> Result<(), Failed>;

    /// Writes the record behind the first, once all workloads stand still, and has an
    /// orchestrator with states freeze.
    ///
    /// # Errors
    /// As the kernel answers; [`Kernel::undo`] cleans up.
    fn freeze(&mut self, record: &[u8]) -> Result<(), Failed>;

    /// Adds to the record what has happened since it was written, and seals it. `tail`
    /// makes the bytes for the room that is left.
    ///
    /// # Errors
    /// As the kernel answers. The record can be read without a tail too.
    fn seal(&self, tail: &dyn Fn(usize) -> Vec<u8>) -> Result<(), Failed>;

    /// Has all on the disks that programs have written: a jump does not.
    fn settle(&mut self);

    /// Jumps. It returns if the service manager jumps later, at the end of its shutdown.
    ///
    /// # Errors
    /// The jump was refused.
    fn jump(&mut self, how: Jump) -> Result<(), Failed>;

    /// How the shutdown stands that [`Kernel::jump`] began.
    fn shutdown(&self) -> Shutdown;

    /// Takes back all that this process has done in the kernel for an update.
    fn undo(&mut self);

    /// Takes back what an earlier process of the agent may have done in the kernel for an
    /// update: a prepared or frozen orchestrator cancels, and no image stays loaded.
    fn abandon(&self);

    /// Has an orchestrator that is prepared or frozen cancel, whoever had it prepare, and
    /// drops the image that is loaded for that. Gives the state that it was in; nothing if
    /// there was nothing to cancel.
    ///
    /// # Errors
    /// As the kernel answers.
    fn cancel(&mut self) -> Result<Option<State>, Failed>;

    /// A copy of the agent's own session, if there is one: for the next kernel, or the one
    /// whose record was taken and is not finished.
    fn own_session(&self) -> Option<Session>;

    /// Goes on in an update whose jump an earlier process of the agent has begun: a
    /// kernel is loaded, and `own` is the agent's own session if that was kept.
    fn go_on(&mut self, own: Option<Session>);

    /// The record that the previous kernel handed over, if there is one, as bytes that
    /// nobody has judged yet. Its session stays open until [`Kernel::finish_record`].
    /// `kept` is the agent's own session if the service manager has it: one that keeps
    /// descriptors over a kexec has taken it back already. `received` is told of the session
    /// before anything is read from it.
    ///
    /// # Errors
    /// As the kernel answers. If the session itself was taken, it is kept
    /// ([`Kernel::own_session`]), and the next call reads that one again.
    fn take_record(
        &mut self,
        kept: Option<Session>,
        received: &mut dyn FnMut(&Session),
    ) -> Result<Option<Vec<u8>>, Failed>;

    /// Finishes the record's session. The record has been read and kept elsewhere by then.
    fn finish_record(&mut self);
}

/// Another descriptor of a session, to be given away.
///
/// # Errors
/// No descriptor is left.
pub fn duplicate(session: &Session) -> Result<OwnedFd, Failed> {
    Ok(session.try_clone()?.into_fd())
}
