// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! How operations reach the engine: the host keeps it under a lock.

use core::task::Poll;

use luo_abi::errno::Errno;

use crate::engine::Engine;
use crate::host::Host;

/// A host that keeps an engine.
///
/// A step runs under the lock and must not sleep or call back. A host lets the steps
/// that wait look again each time another step has run to its end.
pub trait Lock: Host {
    /// Runs a step under the engine's lock.
    fn now<R>(&self, step: impl FnOnce(&mut Engine<Self>) -> R) -> R;

    /// Runs a step under the engine's lock. While it says [`Poll::Pending`], the host
    /// waits until another step has run and then runs it again.
    fn wait<R>(&self, step: impl FnMut(&mut Engine<Self>) -> Poll<R>) -> R;

    /// [`Self::wait`] for a caller who may be killed meanwhile.
    ///
    /// # Errors
    /// EAGAIN if the caller was killed while it waited. The step has then not run to its
    /// end.
    fn wait_killable<R>(&self, step: impl FnMut(&mut Engine<Self>) -> Poll<R>) -> Result<R, Errno> {
        Ok(self.wait(step))
    }
}
