// SPDX-License-Identifier: MIT OR Apache-2.0
//! How far histories come.

/// How far a history came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reached {
    /// Files that were preserved or registered.
    pub preserved: u32,
    /// Sessions that were frozen before the others.
    pub frozen: u32,
    /// Files that came back.
    pub retrieved: u32,
    /// Kexecs.
    pub kexecs: u32,
    /// Reboots and events that were vetoed.
    pub vetoes: u32,
    /// Sessions that nobody claimed and that were carried on.
    pub carried: u32,
}
