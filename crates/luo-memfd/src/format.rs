// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The formats, and where they differ but for their bytes.

use crate::run::Run;

/// A format of the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// What mainline's handler reads and writes.
    Mainline,
    /// One record a run of pages.
    Runs,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Mainline, Self::Runs];

    /// The name that the next kernel finds the handler by.
    #[must_use]
    pub const fn compatible(self) -> &'static str {
        match self {
            Self::Mainline => "memfd-v2",
            Self::Runs => "luo-memfd-v1",
        }
    }

    /// How many pages of a run Kexec HandOver keeps under one key, and gives back at once:
    /// mainline's handler asks for folio after folio.
    #[must_use]
    pub const fn step(self, run: &Run) -> u64 {
        match self {
            Self::Mainline => run.folio_pages(),
            Self::Runs => run.pages,
        }
    }
}
