// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The ioctl interface of `/dev/liveupdate` and of a session descriptor.
//!
//! Source: `include/uapi/linux/liveupdate.h` of Linux 7.3. Each argument is a
//! structure whose first field is its own size; [`crate::extend`] says how a
//! kernel and a program of different age agree on it.
//!
//! | call | on | number | structure |
//! |---|---|---|---|
//! | [`CREATE_SESSION`] | device | 0x00 | [`CreateSession`] |
//! | [`RETRIEVE_SESSION`] | device | 0x01 | [`RetrieveSession`] |
//! | [`SESSION_PRESERVE_FD`] | session | 0x40 | [`PreserveFd`] |
//! | [`SESSION_RETRIEVE_FD`] | session | 0x41 | [`RetrieveFd`] |
//! | [`SESSION_FINISH`] | session | 0x42 | [`Finish`] |
//! | [`SESSION_GET_NAME`] | session | 0x43 | [`GetName`] |

use core::mem::size_of;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The device node.
pub const DEVICE_PATH: &str = "/dev/liveupdate";

/// The ioctl type of every command, in bits 8 to 15 of its value.
pub const IOCTL_TYPE: u32 = 0xBA;

/// Bytes of a session name, the terminating zero included.
pub const SESSION_NAME_LENGTH: usize = 64;

/// The text that `readlink /proc/PID/fd/N` of a session descriptor starts with; the session's name
/// follows. User space recognises sessions by it.
pub const SESSION_LINK_PREFIX: &str = "anon_inode:[luo_session] ";

/// An `_IO` command: no direction, no size, type [`IOCTL_TYPE`].
const fn io(number: u32) -> u32 {
    (IOCTL_TYPE << 8) | number
}

/// Creates an outgoing session; argument [`CreateSession`].
pub const CREATE_SESSION: u32 = io(0x00);
/// Takes back a session of the previous kernel; argument [`RetrieveSession`].
pub const RETRIEVE_SESSION: u32 = io(0x01);
/// Preserves a descriptor in an outgoing session; argument [`PreserveFd`].
pub const SESSION_PRESERVE_FD: u32 = io(0x40);
/// Takes back a descriptor from a retrieved session; argument [`RetrieveFd`].
pub const SESSION_RETRIEVE_FD: u32 = io(0x41);
/// Ends a retrieved session; argument [`Finish`].
pub const SESSION_FINISH: u32 = io(0x42);
/// Reads a session's name; argument [`GetName`].
pub const SESSION_GET_NAME: u32 = io(0x43);

/// A structure that an ioctl takes.
pub trait Argument {
    /// The shortest `size` a program may pass: the structure's first published
    /// form, in bytes.
    const MIN_SIZE: usize;
}

/// Argument of [`CREATE_SESSION`]: 72 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CreateSession {
    /// In: bytes of this structure as the program knows it.
    pub size: u32,
    /// Out: the new session's descriptor, `O_CLOEXEC`.
    pub fd: i32,
    /// In: the name, zero-terminated, 1 to 63 bytes.
    pub name: [u8; SESSION_NAME_LENGTH],
}

/// Argument of [`RETRIEVE_SESSION`]: 72 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RetrieveSession {
    /// In: bytes of this structure as the program knows it.
    pub size: u32,
    /// Out: the session's descriptor, `O_CLOEXEC`.
    pub fd: i32,
    /// In: the name it was created with in the previous kernel.
    pub name: [u8; SESSION_NAME_LENGTH],
}

/// Argument of [`SESSION_PRESERVE_FD`]: 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PreserveFd {
    /// In: bytes of this structure as the program knows it.
    pub size: u32,
    /// In: the descriptor to preserve.
    pub fd: i32,
    /// In: the program's own name for it, unique in the session.
    pub token: u64,
}

/// Argument of [`SESSION_RETRIEVE_FD`]: 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RetrieveFd {
    /// In: bytes of this structure as the program knows it.
    pub size: u32,
    /// Out: the restored descriptor, `O_CLOEXEC`.
    pub fd: i32,
    /// In: the token it was preserved under.
    pub token: u64,
}

/// Argument of [`SESSION_FINISH`]: 8 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Finish {
    /// In: bytes of this structure as the program knows it.
    pub size: u32,
    /// In: must be zero.
    pub reserved: u32,
}

/// Argument of [`SESSION_GET_NAME`]: 72 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct GetName {
    /// In: bytes of this structure as the program knows it.
    pub size: u32,
    /// In: must be zero.
    pub reserved: u32,
    /// Out: the name, zero-terminated.
    pub name: [u8; SESSION_NAME_LENGTH],
}

macro_rules! arguments {
    ($($name:ident: $size:literal;)*) => {
        $(
            const _: () = assert!(size_of::<$name>() == $size);
            impl Argument for $name {
                const MIN_SIZE: usize = $size;
            }
        )*
    };
}

arguments! {
    CreateSession: 72;
    RetrieveSession: 72;
    PreserveFd: 16;
    RetrieveFd: 16;
    Finish: 8;
    GetName: 72;
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn commands_are_those_of_the_header() {
        assert_eq!(CREATE_SESSION, 0xBA00);
        assert_eq!(RETRIEVE_SESSION, 0xBA01);
        assert_eq!(SESSION_PRESERVE_FD, 0xBA40);
        assert_eq!(SESSION_RETRIEVE_FD, 0xBA41);
        assert_eq!(SESSION_FINISH, 0xBA42);
        assert_eq!(SESSION_GET_NAME, 0xBA43);
    }

    #[test]
    fn fields_lie_where_the_header_puts_them() {
        assert_eq!(offset_of!(CreateSession, fd), 4);
        assert_eq!(offset_of!(CreateSession, name), 8);
        assert_eq!(offset_of!(RetrieveSession, name), 8);
        assert_eq!(offset_of!(PreserveFd, token), 8);
        assert_eq!(offset_of!(RetrieveFd, token), 8);
        assert_eq!(offset_of!(GetName, reserved), 4);
        assert_eq!(offset_of!(GetName, name), 8);
    }
}
