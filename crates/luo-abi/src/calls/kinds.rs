// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The types of a row's fields: all that can be true of a call.

use core::mem::size_of;

use crate::errno::Errno;
use crate::rfc::State;
use crate::uapi::Argument;

/// The interface that a call belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Mainline's, see [`crate::uapi`].
    Mainline,
    /// The original proposal's, see [`crate::rfc`].
    Rfc,
    /// This project's own, see [`crate::contract`].
    Contract,
}

/// The kind of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DescriptorKind {
    /// An open instance of the device.
    Device,
    /// A session.
    Session,
}

/// The descriptors that a call can be made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The device only.
    Device,
    /// A session only.
    Session,
    /// Either.
    Both,
}

impl On {
    /// Whether a descriptor of a kind takes the call.
    #[must_use]
    pub const fn takes(self, kind: DescriptorKind) -> bool {
        matches!(
            (self, kind),
            (Self::Both, _)
                | (Self::Device, DescriptorKind::Device)
                | (Self::Session, DescriptorKind::Session)
        )
    }
}

/// The programs that may make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Every holder of the descriptor. The checks were made at the open.
    Holder,
    /// One who may administer the machine when the call is made (CAP_SYS_ADMIN): it moves
    /// or shows the whole machine. For others it ends with EACCES.
    Administrator,
}

impl Who {
    /// The error that the call ends with for a caller that may administer the machine, or may not;
    /// `None` if it may be made.
    #[must_use]
    pub const fn refusal(self, privileged: bool) -> Option<Errno> {
        match self {
            Self::Administrator if !privileged => Some(Errno::EACCES),
            Self::Administrator | Self::Holder => None,
        }
    }
}

/// The form of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// There is none, and the address is not looked at.
    Nothing,
    /// Always so many bytes.
    Fixed(usize),
    /// It begins with its size and grows by the rules of [`crate::extend`].
    Sized {
        /// Bytes of its first form; a shorter one is EINVAL.
        least: usize,
        /// Bytes of it as this version knows it.
        known: usize,
    },
}

impl Form {
    pub(super) const fn sized<T: Argument>() -> Self {
        Self::Sized {
            least: T::MIN_SIZE,
            known: size_of::<T>(),
        }
    }

    /// Bytes of the argument as this version knows it.
    #[must_use]
    pub const fn known(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Fixed(bytes) | Self::Sized { known: bytes, .. } => bytes,
        }
    }
}

/// The states of the machine in which a call is legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// All of them.
    Always,
    /// These; in all others it ends with this error.
    In(&'static [State], Errno),
    /// These; in all others it ends with this error for what took part in a prepare.
    /// What came after it may be changed until the reboot freezes it.
    OrLate(&'static [State], Errno),
}

impl When {
    /// The error that a call on something that took part in a prepare ends with because the
    /// machine is in a state; `None` if it is legal there.
    #[must_use]
    pub fn refusal(self, state: State) -> Option<Errno> {
        match self {
            Self::In(states, errno) | Self::OrLate(states, errno) if !states.contains(&state) => {
                Some(errno)
            }
            Self::In(..) | Self::OrLate(..) | Self::Always => None,
        }
    }
}

/// The entries of a call that lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries {
    /// Bytes of one as this version knows it.
    pub size: usize,
    /// The bits of [`List::flags`](crate::contract::List::flags) that are known on the device, and on a session.
    pub flags: (u32, u32),
    /// [`List::token`](crate::contract::List::token) names the file that the list is about.
    pub of_file: bool,
}

impl Entries {
    pub(super) const fn of<T>() -> Self {
        Self {
            size: size_of::<T>(),
            flags: (0, 0),
            of_file: false,
        }
    }

    pub(super) const fn of_file(self) -> Self {
        Self {
            of_file: true,
            ..self
        }
    }

    pub(super) const fn on_device(self, flags: u32) -> Self {
        Self {
            flags: (flags, self.flags.1),
            ..self
        }
    }

    /// The bits of [`List::flags`](crate::contract::List::flags) that are known on a descriptor of a kind.
    #[must_use]
    pub const fn flags_on(self, kind: DescriptorKind) -> u32 {
        match kind {
            DescriptorKind::Device => self.flags.0,
            DescriptorKind::Session => self.flags.1,
        }
    }
}
