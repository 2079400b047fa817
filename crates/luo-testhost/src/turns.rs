// SPDX-License-Identifier: MIT OR Apache-2.0
//! Turns: one thread at a time, and somebody decides which.

use std::panic::Location;

use luo_abi::errno::Errno;

use crate::host::TestHost;
use crate::script::Call;

/// Hands out turns to the threads that use a host, and decides what callbacks say.
pub trait Turns: Send + Sync {
    /// A thread is about to run a step of the engine, asked for at `place`.
    fn step(&self, host: &TestHost, place: &'static Location<'static>);

    /// A thread has run a step to its end: whoever waits may look again.
    fn stepped(&self);

    /// A step has to wait for another's.
    ///
    /// # Errors
    /// The waiting thread was killed, which only one that is `killable` is.
    fn wait(&self, host: &TestHost, killable: bool) -> Result<(), Errno>;

    /// A thread is in a callback.
    ///
    /// # Errors
    /// What the callback is to say.
    fn callback(&self, host: &TestHost, call: Call, object: u64) -> Result<(), Errno>;

    /// [`Self::callback`] for one that runs under the engine's lock, where the turn
    /// cannot change.
    ///
    /// # Errors
    /// What the callback is to say.
    fn veto(&self, call: Call, object: u64) -> Result<(), Errno>;
}
