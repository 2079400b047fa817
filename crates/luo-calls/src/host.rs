// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The trait of a host that programs call, beside those that the engine wants.

use core::fmt;

use luo_core::{Lock, Part};

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something is lost or switched off.
    Error,
    /// Somebody has to do something.
    Warning,
    /// It went as it should.
    Info,
}

/// The words by which an administrator chooses who may open the device: whom the mode of
/// its file admits, which is the default, or of those only who may administer the machine.
pub const OPEN_WORDS: [&str; 2] = ["mode", "admin"];

/// The most lines of [`CallHost::say_now_and_then`] in [`LINES_SECONDS`].
pub const LINES: u32 = 32;
/// In how many seconds they are the most.
pub const LINES_SECONDS: u64 = 10;

/// A host that programs call.
pub trait CallHost: Lock {
    /// The name that this orchestrator gives itself: [`luo_abi::contract::Info::implementation`].
    const IMPLEMENTATION: &'static str;

    /// Whether more than one may have the device open.
    fn many_openers(&self) -> bool;

    /// Whether only who may administer the machine may open the device, whatever the mode
    /// of its file.
    fn opens_strictly(&self) -> bool;

    /// The device has been opened, and what the previous kernel left will be wanted: a host
    /// whose worker takes it over may have it begin. It must not wait for that.
    fn takeover_is_near(&self) {}

    /// Does what is to be done for a call that moves the whole machine
    /// ([`luo_abi::calls::Call::moves`]). A host that charges a program for the memory that its
    /// calls take charges nobody for this.
    fn for_all<R>(&self, work: impl FnOnce() -> R) -> R {
        work()
    }

    /// Writes a line to the log. Called without the engine's lock.
    fn say(&self, level: Level, text: fmt::Arguments<'_>);

    /// Writes a line that a program can cause as often as it likes: of what is users' [`LINES`] of
    /// them and no more in [`LINES_SECONDS`], and of all else as many, so that none pushes others'
    /// lines out of the log, and no user an administrator's.
    fn say_now_and_then(&self, of: Part, level: Level, text: fmt::Arguments<'_>);
}
