// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may open a file of ours: its mode and its owners. Those of `/dev/liveupdate` programs
//! with privileges change by chmod and chown; the others are root's and stay as they are.

use luo_abi::errno::Errno;
use rustix::thread::CapabilitySet;

use crate::caller::Thread;
use crate::client::Client as _;
use crate::path::Place;

/// The bits of a mode that can be changed.
const BITS: u32 = 0o7777;

/// Whom a file admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permissions {
    pub(crate) mode: u32,
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl Default for Permissions {
    /// As the kernel makes it.
    fn default() -> Self {
        Self::of_root(0o600)
    }
}

impl Permissions {
    /// A file of root's.
    pub(crate) const fn of_root(mode: u32) -> Self {
        Self {
            mode,
            user: 0,
            group: 0,
        }
    }

    /// Those of one of our places, if `device` are those of the device.
    pub(crate) fn of(device: Self, place: Place) -> Self {
        match place {
            Place::Device => device,
            Place::Folder => Self::of_root(0o755),
            Place::State | Place::UpdateCount => Self::of_root(0o444),
            Place::Image => Self::of_root(0o400),
            Place::Choice(_) => Self::of_root(0o644),
            _ => Self::default(),
        }
    }

    /// Whether a user in groups may do what the bits of `wanted` are for: 4 to read, 2 to
    /// write, 1 to execute.
    fn admits(self, user: u32, groups: &[u32], wanted: u32) -> bool {
        let shift = if user == self.user {
            6
        } else if groups.contains(&self.group) {
            3
        } else {
            0
        };
        self.mode >> shift & wanted == wanted
    }

    /// The same for a caller. A privilege opens everything, but executes nothing that nobody
    /// may execute.
    pub(crate) fn admit(self, caller: &Thread<'_>, wanted: u32) -> bool {
        let may_be = wanted & 1 == 0 || self.mode & 0o111 != 0;
        may_be && caller.has(CapabilitySet::DAC_OVERRIDE)
            || self.admits(caller.identity().uid, &caller.groups(), wanted)
    }

    /// Changes the mode.
    ///
    /// # Errors
    /// EPERM if the file is not the caller's.
    pub(crate) fn change_mode(&mut self, caller: &Thread<'_>, mode: u32) -> Result<(), Errno> {
        if caller.identity().uid != self.user && !caller.has(CapabilitySet::FOWNER) {
            return Err(Errno::EPERM);
        }
        self.mode = mode & BITS;
        Ok(())
    }

    /// Changes the owners; `u32::MAX` leaves one as it is.
    ///
    /// # Errors
    /// EPERM if the caller may not.
    pub(crate) fn change_owners(
        &mut self,
        caller: &Thread<'_>,
        user: u32,
        group: u32,
    ) -> Result<(), Errno> {
        if !caller.has(CapabilitySet::CHOWN) {
            return Err(Errno::EPERM);
        }
        if user != u32::MAX {
            self.user = user;
        }
        if group != u32::MAX {
            self.group = group;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_user_group_and_others_decides() {
        let file = Permissions {
            mode: 0o460,
            user: 1,
            group: 2,
        };
        assert!(file.admits(1, &[2], 4) && !file.admits(1, &[2], 6));
        assert!(file.admits(3, &[7, 2], 6) && !file.admits(3, &[7], 4));
        assert!(!Permissions::default().admits(1000, &[1000], 4));
    }
}
