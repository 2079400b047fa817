// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Subsystems that take part in an update by name.

use crate::host::Host;
use crate::text::Compat;

/// A registered subsystem.
pub(crate) struct Subsystem<H: Host> {
    pub(crate) name: Compat,
    pub(crate) table: H::Subsystem,
    /// The number it returned at prepare or freeze, from prepare to cancel, and what keeps
    /// its owner there.
    pub(crate) prepared: Option<(u64, H::Pin)>,
    /// It has had its last look, and is not asked again before a cancel.
    pub(crate) frozen: bool,
}

/// A number that a subsystem of the previous kernel handed over.
pub(crate) struct ArrivedSubsystem {
    pub(crate) name: Compat,
    pub(crate) data: u64,
    /// Its subsystem has been told that the update is over, or nobody is there
    /// to tell.
    pub(crate) finished: bool,
}
