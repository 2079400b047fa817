// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Error numbers, as they cross the ioctl boundary.

use core::fmt;

/// A positive Linux error number.
///
/// The values are those of `asm-generic/errno-base.h` and `asm-generic/errno.h`,
/// which every architecture with Kexec HandOver shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(i32);

/// The largest error number the kernel encodes in a pointer or a return value.
const MAX_ERRNO: i32 = 4095;

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl Errno {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The symbolic name, for example `ENOENT`, if the ABI uses it.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    /// Operation not permitted.
    EPERM = 1;
    /// No such session, token, handler or object.
    ENOENT = 2;
    /// The handover data could not be taken over.
    EIO = 5;
    /// Argument list too long; in this ABI: a structure with unknown, non-zero fields.
    E2BIG = 7;
    /// Bad file descriptor.
    EBADF = 9;
    /// Killed while waiting for its turn; nothing has happened.
    EAGAIN = 11;
    /// Out of memory.
    ENOMEM = 12;
    /// Permission denied.
    EACCES = 13;
    /// Bad address.
    EFAULT = 14;
    /// Device or resource busy.
    EBUSY = 16;
    /// The name, the token or the object exists already.
    EEXIST = 17;
    /// The owner of a callback table is going away.
    ENODEV = 19;
    /// Invalid argument.
    EINVAL = 22;
    /// The machine has as many open files as it may have, or no memory for a pipe.
    ENFILE = 23;
    /// The process has as many descriptors as it may have.
    EMFILE = 24;
    /// Not an ioctl of this file.
    ENOTTY = 25;
    /// File too large.
    EFBIG = 27;
    /// A named limit is reached.
    ENOSPC = 28;
    /// The name is too long.
    ENAMETOOLONG = 36;
    /// A file would need itself, by way of others.
    ELOOP = 40;
    /// No data: nothing was handed over.
    ENODATA = 61;
    /// A file needs another that is not preserved any more.
    ENOLINK = 67;
    /// Live update is switched off.
    EOPNOTSUPP = 95;
    /// A file needs another that who has its session has not taken back yet.
    ENOTCONN = 107;
    /// The entry that a list was to go on from is gone.
    ESTALE = 116;
    /// The user has as much as a user may have.
    EDQUOT = 122;
    /// The file could not be handed over: it is lost.
    ENOTRECOVERABLE = 131;
    /// A page of the file is in memory that has failed.
    EHWPOISON = 133;
}

impl Errno {
    /// The number, always positive.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }

    /// Reads what a kernel function returned: 0 or above is success, a value
    /// from -4095 to -1 is an error, and anything below is a broken callee,
    /// reported as [`Errno::EIO`].
    ///
    /// # Errors
    /// The error number that `ret` encodes.
    pub const fn check(ret: i32) -> Result<i32, Self> {
        match ret {
            0.. => Ok(ret),
            _ if ret >= -MAX_ERRNO => Err(Self(ret.wrapping_neg())),
            _ => Err(Self::EIO),
        }
    }

    /// The value a kernel function returns for this error.
    #[must_use]
    pub const fn to_ret(self) -> i32 {
        self.0.wrapping_neg()
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn return_values_are_told_apart() {
        assert_eq!(Errno::check(0), Ok(0));
        assert_eq!(Errno::check(7), Ok(7));
        assert_eq!(Errno::check(-2), Err(Errno::ENOENT));
        assert_eq!(Errno::check(-4096), Err(Errno::EIO));
        assert_eq!(Errno::check(i32::MIN), Err(Errno::EIO));
        assert_eq!(Errno::ENOENT.to_ret(), -2);
    }

    #[test]
    fn names_are_symbolic_where_known() {
        assert_eq!(Errno::ENOTTY.to_string(), "ENOTTY");
        assert_eq!(Errno::check(-4000).unwrap_err().to_string(), "errno 4000");
    }
}
