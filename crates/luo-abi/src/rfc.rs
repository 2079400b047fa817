// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The ioctl interface of the original proposal (RFC v2, May 2025).
//!
//! On the device only, beside mainline's calls: both have type 0xBA, and the
//! whole command values never collide. Arguments have a fixed size, which the
//! command value encodes.
//!
//! | call | value | argument |
//! |---|---|---|
//! | [`FD_PRESERVE`] | 0xC010BA00 | [`LiveupdateFd`]: in `fd`, `flags`; out `token` |
//! | [`FD_UNPRESERVE`] | 0x4008BA01 | `u64`: in token |
//! | [`FD_RESTORE`] | 0xC010BA02 | [`LiveupdateFd`]: in `token`, `flags`; out `fd` |
//! | [`GET_STATE`] | 0x8004BA03 | `u32`: out [`State`] |
//! | [`EVENT_PREPARE`] | 0xBA04 | none |
//! | [`EVENT_FREEZE`] | 0xBA05 | none |
//! | [`EVENT_CANCEL`] | 0xBA06 | none |
//! | [`EVENT_FINISH`] | 0xBA07 | none |

use core::fmt;
use core::mem::size_of;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::uapi::IOCTL_TYPE;

const WRITE: u32 = 1;
const READ: u32 = 2;

/// A command with a direction and the size of its argument, as the kernel's
/// `_IOC` composes it.
const fn ioc(direction: u32, number: u32, size: usize) -> u32 {
    (direction << 30) | ((size as u32) << 16) | (IOCTL_TYPE << 8) | number
}

/// Registers a descriptor, to be preserved at prepare; argument [`LiveupdateFd`].
pub const FD_PRESERVE: u32 = ioc(READ | WRITE, 0x00, size_of::<LiveupdateFd>());
/// Takes a registration back; argument: the token, 8 bytes.
pub const FD_UNPRESERVE: u32 = ioc(WRITE, 0x01, size_of::<u64>());
/// Restores a descriptor of the previous kernel; argument [`LiveupdateFd`].
pub const FD_RESTORE: u32 = ioc(READ | WRITE, 0x02, size_of::<LiveupdateFd>());
/// Reads the state; argument: 4 bytes for a [`State`].
pub const GET_STATE: u32 = ioc(READ, 0x03, size_of::<u32>());
/// Asks everybody to get ready; no argument.
pub const EVENT_PREPARE: u32 = ioc(0, 0x04, 0);
/// The last step before the kexec; no argument.
pub const EVENT_FREEZE: u32 = ioc(0, 0x05, 0);
/// Undoes prepare, and freeze; no argument.
pub const EVENT_CANCEL: u32 = ioc(0, 0x06, 0);
/// Ends the update in the next kernel; no argument.
pub const EVENT_FINISH: u32 = ioc(0, 0x07, 0);

/// Argument of [`FD_PRESERVE`] and [`FD_RESTORE`]: 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct LiveupdateFd {
    /// The descriptor: in for preserve, out (`O_CLOEXEC`) for restore.
    pub fd: i32,
    /// In: must be zero.
    pub flags: u32,
    /// The kernel's name for it: out for preserve, in for restore. Unique over
    /// the machine's chain of kernels.
    pub token: u64,
}

const _: () = assert!(size_of::<LiveupdateFd>() == 16);

/// Where the machine is in an update: what [`GET_STATE`] answers.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Nothing is under way.
    Normal = 0,
    /// Everybody has agreed and the set of what is preserved is fixed.
    Prepared = 1,
    /// Nobody touches what is preserved any more. The reboot freezes everything anew, and
    /// writes it down for the next kernel.
    Frozen = 2,
    /// The previous kernel handed over, and not all of it is finished.
    Updated = 3,
}

impl State {
    /// All states, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Normal, Self::Prepared, Self::Frozen, Self::Updated];

    /// The state with a number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Normal),
            1 => Some(Self::Prepared),
            2 => Some(Self::Frozen),
            3 => Some(Self::Updated),
            _ => None,
        }
    }

    /// The word in `/sys/kernel/liveupdate/state`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Prepared => "prepared",
            Self::Frozen => "frozen",
            Self::Updated => "updated",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// An event: it moves the machine from state to state.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Event {
    /// [`EVENT_PREPARE`].
    Prepare = 0,
    /// [`EVENT_FREEZE`].
    Freeze = 1,
    /// [`EVENT_FINISH`].
    Finish = 2,
    /// [`EVENT_CANCEL`].
    Cancel = 3,
}

impl Event {
    /// All events, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Prepare, Self::Freeze, Self::Finish, Self::Cancel];

    /// The word in messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Freeze => "freeze",
            Self::Finish => "finish",
            Self::Cancel => "cancel",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn commands_are_those_of_the_proposal() {
        assert_eq!(FD_PRESERVE, 0xC010_BA00);
        assert_eq!(FD_UNPRESERVE, 0x4008_BA01);
        assert_eq!(FD_RESTORE, 0xC010_BA02);
        assert_eq!(GET_STATE, 0x8004_BA03);
        assert_eq!(EVENT_PREPARE, 0xBA04);
        assert_eq!(EVENT_FREEZE, 0xBA05);
        assert_eq!(EVENT_CANCEL, 0xBA06);
        assert_eq!(EVENT_FINISH, 0xBA07);
    }

    #[test]
    fn fields_lie_where_the_proposal_puts_them() {
        assert_eq!(offset_of!(LiveupdateFd, flags), 4);
        assert_eq!(offset_of!(LiveupdateFd, token), 8);
    }

    #[test]
    fn states_have_their_numbers() {
        for (number, state) in (0..).zip(State::ALL) {
            assert_eq!(state as u32, number);
            assert_eq!(State::from_number(number), Some(state));
        }
        assert_eq!(State::from_number(4), None);
    }
}
