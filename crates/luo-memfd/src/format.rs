// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The formats, and where they differ but for their bytes.

use crate::run::{Run, MOST_ORDER};

/// A format of the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The format that mainline's handler reads and writes.
    Mainline,
    /// One record a run of pages.
    Runs,
    /// The same, of huge pages.
    Huge,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mainline, Self::Runs, Self::Huge];

    /// The name that the next kernel finds the handler by.
    #[must_use]
    pub const fn compatible(self) -> &'static str {
        match self {
            Self::Mainline => "memfd-v2",
            Self::Runs => "luo-memfd-v1",
            Self::Huge => luo_abi::memfd::HUGE,
        }
    }

    /// Whether Kexec HandOver keeps each folio by itself, and not a run as a whole: mainline's
    /// handler asks for folio after folio.
    #[must_use]
    pub const fn is_by_folios(self) -> bool {
        match self {
            Self::Mainline => true,
            Self::Runs | Self::Huge => false,
        }
    }

    /// How many pages of a run Kexec HandOver is asked for at once.
    #[must_use]
    pub const fn step(self, run: &Run) -> u64 {
        if self.is_by_folios() {
            run.folio_pages()
        } else {
            run.pages
        }
    }

    /// Features that a reader has to know of a file, [`luo_abi::memfd::Facts::required`].
    #[must_use]
    pub const fn required(self) -> u64 {
        match self {
            Self::Mainline | Self::Runs => 0,
            Self::Huge => luo_abi::memfd::REQUIRED_HUGE,
        }
    }

    /// The highest order that single pages that came back are joined to where they lie so, if
    /// the kernel has folios up to some order. Huge pages stay what they are.
    #[must_use]
    pub const fn join_order(self, most: u32) -> u32 {
        match self {
            Self::Mainline | Self::Runs => most,
            Self::Huge => MOST_ORDER,
        }
    }
}
