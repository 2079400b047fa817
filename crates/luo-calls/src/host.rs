// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What is wanted of a host beside what the engine wants.

use core::fmt;

use luo_core::Lock;

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

/// A host that programs call.
pub trait CallHost: Lock {
    /// What this orchestrator calls itself: [`luo_abi::contract::Info::implementation`].
    const IMPLEMENTATION: &'static str;

    /// Whether more than one may have the device open.
    fn many_openers(&self) -> bool;

    /// Whether only who may administer the machine may open the device, whatever the mode
    /// of its file.
    fn opens_strictly(&self) -> bool;

    /// Writes a line to the log. Called without the engine's lock.
    fn say(&self, level: Level, text: fmt::Arguments<'_>);
}
