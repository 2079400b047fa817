// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What a reboot could not hand over, in numbers.

/// What a reboot has lost, or a reboot before this kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Files, those of whole sessions not counted.
    pub files: u64,
    /// Sessions.
    pub sessions: u64,
    /// Subsystems.
    pub subsystems: u64,
    /// There were sessions that could not be read: nobody knows how many.
    pub unread: bool,
}

impl Losses {
    /// Nothing.
    pub const NONE: Self = Self {
        files: 0,
        sessions: 0,
        subsystems: 0,
        unread: false,
    };

    /// How much is lost, as far as it is known.
    #[must_use]
    pub const fn count(&self) -> u64 {
        let files = self.files.saturating_add(self.sessions);
        files.saturating_add(self.subsystems)
    }

    /// Whether something is lost.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.count() > 0 || self.unread
    }
}
