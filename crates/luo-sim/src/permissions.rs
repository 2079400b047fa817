// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may open `/dev/liveupdate`: the mode and the owners of its file, which programs
//! with privileges change by chmod and chown.

use luo_abi::errno::Errno;
use rustix::thread::CapabilitySet;

use crate::caller::Caller;
use crate::client::Client as _;

/// The bits of a mode that can be changed.
const BITS: u32 = 0o7777;

/// What the file of a device admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permissions {
    pub(crate) mode: u32,
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl Default for Permissions {
    /// As the kernel makes it.
    fn default() -> Self {
        Self {
            mode: 0o600,
            user: 0,
            group: 0,
        }
    }
}

impl Permissions {
    /// Those of `/sys/kernel/liveupdate/image`.
    pub(crate) const OF_IMAGE: Self = Self {
        mode: 0o400,
        user: 0,
        group: 0,
    };

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

    /// The same for a caller.
    pub(crate) fn admit(self, caller: &Caller<'_>, wanted: u32) -> bool {
        caller.has(CapabilitySet::DAC_OVERRIDE)
            || self.admits(caller.identity().uid, &caller.groups(), wanted)
    }

    /// Changes the mode.
    ///
    /// # Errors
    /// EPERM if the file is not the caller's.
    pub(crate) fn change_mode(&mut self, caller: &Caller<'_>, mode: u32) -> Result<(), Errno> {
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
        caller: &Caller<'_>,
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
