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

/// A host that programs call.
pub trait CallHost: Lock {
    /// What this orchestrator calls itself: [`luo_abi::contract::Info::implementation`].
    const IMPLEMENTATION: &'static str;

    /// Whether more than one may have the device open.
    fn many_openers(&self) -> bool;

    /// Writes a line to the log. Called without the engine's lock.
    fn say(&self, level: Level, text: fmt::Arguments<'_>);
}
