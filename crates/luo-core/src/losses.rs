// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The losses of a reboot, which it could not hand over: in numbers, and how many of them are named.

use core::fmt;

use crate::owner::Owner;

/// The losses of a reboot: of this kernel's, or of one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Files, those of whole sessions not counted.
    pub files: u64,
    /// Sessions: of those that nobody has claimed, what could not be carried on; and what
    /// somebody has claimed and not finished.
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

/// The owner of something that a reboot loses, as far as the log tells owners apart. So much of
/// each part is named that none pushes the lines of another out of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The administrator's: sessions, files of the device, subsystems.
    Administrators,
    /// Users' without privileges, all of them together.
    Users,
    /// Nobody's that is known: sessions that came from an orchestrator without owners.
    Nobodys,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Administrators, Self::Users, Self::Nobodys];

    pub(crate) const fn of(owner: Owner) -> Self {
        match owner {
            Owner::Root | Owner::Device => Self::Administrators,
            Owner::User(_) => Self::Users,
            Owner::Nobody => Self::Nobodys,
        }
    }

    /// How much of it is named in one reboot; the rest is counted.
    #[must_use]
    pub const fn most_named(self) -> u64 {
        match self {
            Self::Administrators | Self::Nobodys => 16,
            // They can lose as much as they like.
            Self::Users => 4,
        }
    }
}

/// As it goes on behind "3 more of".
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Administrators => "the administrator's",
            Self::Users => "users without privileges",
            Self::Nobodys => "nobody's",
        })
    }
}

/// How much the host has been told of in one reboot, by [`Part::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told([u64; Part::ALL.len()]);

impl Told {
    pub(crate) const NOTHING: Self = Self([0; Part::ALL.len()]);

    /// Counts one more; true if it is to be named.
    pub(crate) fn one_more(&mut self, part: Part) -> bool {
        let Some(count) = self.0.get_mut(part as usize) else {
            return false;
        };
        *count = count.saturating_add(1);
        *count <= part.most_named()
    }

    /// How much of a part was not named.
    pub(crate) fn unnamed(&self, part: Part) -> u64 {
        let count = self.0.get(part as usize).copied().unwrap_or(0);
        count.saturating_sub(part.most_named())
    }
}
