// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The name of a file in messages and queries.

use core::fmt;

use crate::text::SessionName;

/// The name of a file in messages and queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileName {
    /// Its session.
    pub session: SessionName,
    /// Its token.
    pub token: u64,
    /// It was registered on the device: the token alone names it.
    pub of_device: bool,
}

impl FileName {
    /// Whether two names are of the same file: tokens of the device are unique.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.token == other.token
            && self.of_device == other.of_device
            && (self.of_device || self.session == other.session)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session \"{}\", token {:#x}", self.session, self.token)
    }
}
