// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Which kinds of files users without privileges may preserve.
//!
//! A kernel that has no handler for a file refuses all that was handed over, if it is mainline's:
//! one user's eventfd would lose everybody's memory. Memfds are what each kernel reads. So those
//! alone are a user's to preserve, in whosever session, unless the administrator knows of more
//! that is read where the machine goes.

use crate::text::Compat;

/// What the administrator has chosen.
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
