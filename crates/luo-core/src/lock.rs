// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! How operations reach the engine: the host keeps it under a lock.

use core::task::Poll;

use luo_abi::errno::Errno;

use crate::engine::Engine;
use crate::error::Error;
use crate::host::Host;

/// A host that keeps an engine.
///
/// A step runs under the lock and must not sleep or call back. It gets memory that is there at
/// once; an operation makes room without the lock, see [`ops::with_room`](crate::ops::with_room).
/// Another thread may run it for the caller, who waits meanwhile: it must not ask who calls.
///
/// A host has [`QUEUES`](crate::QUEUES) queues. A caller whose step has to wait sleeps in
/// the one that [`Engine::spot`] names; after each step that ran to its end the host
/// wakes those that [`Engine::take_woken`] names, whose steps look again, all of a queue or those
/// who wait for one topic there. Waking more is harmless; waking fewer leaves somebody asleep for ever.
///
/// Operations that have done nothing yet wait by [`Self::wait_killable`], which a caller
/// who is killed leaves, and look by [`Self::now_killable`]. One that has begun must be ended, so it cannot be left. It may wait
/// as long as a callback of another takes; a host must not report it as hung.
pub trait Lock: Host {
    /// Runs a step under the engine's lock.
    fn now<R>(&self, step: impl FnOnce(&mut Engine<Self>) -> R) -> R;

    /// [`Self::now`] for a caller who has begun nothing, and may be killed where a host has users
    /// wait before they stand with all others for the lock: queries, and the first look of a call.
    ///
    /// # Errors
    /// EAGAIN if the caller was killed. The step has then not run.
    fn now_killable<R>(&self, step: impl FnOnce(&mut Engine<Self>) -> R) -> Result<R, Errno> {
        Ok(self.now(step))
    }

    /// [`Self::now_killable`] for a caller for whom others wait that have nothing to do with live
    /// update: where a host has users wait, this one waits for none of those.
    ///
    /// # Errors
    /// As there.
    fn at_once<R>(&self, step: impl FnOnce(&mut Engine<Self>) -> R) -> Result<R, Errno> {
        self.now_killable(step)
    }

    /// Runs a step under the engine's lock. While it says [`Poll::Pending`], the host
    /// waits until its queue is woken and then runs it again.
    fn wait<R>(&self, step: impl FnMut(&mut Engine<Self>) -> Poll<R>) -> R;

    /// [`Self::wait`] for a caller who may be killed meanwhile.
    ///
    /// # Errors
    /// EAGAIN if the caller was killed while it waited. The step has then not run to its
    /// end.
    fn wait_killable<R>(&self, step: impl FnMut(&mut Engine<Self>) -> Poll<R>) -> Result<R, Errno> {
        Ok(self.wait(step))
    }

    /// [`Self::wait_killable`] for as long as the host has patience. Transitions use it: they
    /// wait for calls of other programs, which a program can prolong at will.
    ///
    /// # Errors
    /// EAGAIN as there; EBUSY if the patience has ended before the wait.
    fn wait_patiently<R>(&self, step: impl FnMut(&mut Engine<Self>) -> Poll<R>)
        -> Result<R, Errno>;

    /// Brings over what the previous kernel left, because somebody wants it. A host has a worker
    /// of its own call [`crate::ops::take_over`], gives `None` at once, and the caller waits until
    /// the worker has ended. So the first caller, who may be anybody, neither does the work nor is
    /// charged for it. A host to which that does not matter calls it itself and gives what came of
    /// it.
    fn bring_over(&self) -> Option<Result<(), Error>>;

    /// Whether the caller, who has finished a session, is to leave to a worker of the host's what
    /// follows from that for others: to try the administrator's closed sessions again, whose
    /// handlers are to run neither in a user's time nor in a user's memory cgroup, and the end
    /// of the update, a transition, for which all others wait: it is not to depend on when a user's
    /// thread is let run.
    fn leaves_rest_to_worker(&self) -> bool {
        false
    }

    /// Has that worker call [`crate::ops::do_rest`], and does not wait for it.
    fn rest_is_wanted(&self) {}
}
