// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Which kinds of files users without privileges may preserve.
//!
//! A kernel of mainline's that has no handler for one file refuses everything that was handed over:
//! one user's eventfd would lose everybody's memory. Every kernel reads memfds. So a user may
//! preserve memfds alone, in whosever session, unless the administrator knows that the next kernel
//! reads other kinds, too.

use crate::text::Compat;

/// The kinds that the administrator has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserKinds {
    /// Memfds.
    Memfds,
    /// Whatever has a handler.
    All,
}

impl UserKinds {
    /// The words for them, in this order. The first is the default.
    pub const WORDS: [&'static str; 2] = ["memfd", "all"];

    /// The handlers of memfds, by their names: mainline's, and the one in runs of pages.
    const MEMFDS: [&'static [u8]; 2] = [b"memfd-v2", b"luo-memfd-v1"];

    /// The one with the second word, or with the first.
    #[must_use]
    pub const fn of(second: bool) -> Self {
        if second {
            Self::All
        } else {
            Self::Memfds
        }
    }

    /// Whether a user may have files of a handler.
    pub(crate) fn admit(self, handler: &Compat) -> bool {
        match self {
            Self::All => true,
            Self::Memfds => Self::MEMFDS.contains(&handler.as_bytes()),
        }
    }
}
