// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctls without manners: any number, any bytes, any address.
//!
//! For tests of what the kernel refuses. The calls are safe all the same:
//!
//! # Invariants
//! - They work on [`Device`] and [`Session`] only ([`Target`] is sealed). What
//!   these files and the kernel's generic ioctls read or write is a structure
//!   at the argument, never anything behind a pointer in it.
//! - The argument always lies at the start of a 64 KiB mapping of its own that
//!   no Rust reference points into. A size-first ioctl writes at most the
//!   structure that the kernel knows, whatever size the caller claims; so do the
//!   generic ones. A kernel without a limit may read on behind the mapping,
//!   which changes nothing.

use std::os::fd::AsFd;

use luo_abi::errno::Errno;

use crate::anonymous::{Access, Anonymous};
use crate::call::with_pointer;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::session::Session;

/// A file that the calls of this module accept.
pub trait Target: AsFd + sealed::Sealed {}

impl Target for Device {}
impl Target for Session {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Device {}
    impl Sealed for super::Session {}
}

/// Calls `command` with a copy of `argument`, and copies the bytes back when it
/// has returned, even if it failed: an error may come after a partial answer.
///
/// A descriptor that the kernel returns in the bytes belongs to the caller, who
/// has no safe way to close it: pass commands that fail, or create nothing.
///
/// ```no_run
/// use luo_sys::{Device, Errno, raw};
/// # fn main() -> Result<(), luo_sys::Error> {
/// let device = Device::open()?;
/// let error = raw::ioctl(&device, 0xBA77, &mut [0; 8]).unwrap_err();
/// assert_eq!(error.errno(), Errno::ENOTTY);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Whatever the kernel answers; E2BIG if `argument` exceeds 64 KiB.
pub fn ioctl(target: &impl Target, command: u32, argument: &mut [u8]) -> Result<i32> {
    let mapping = Anonymous::with(argument, Access::ReadWrite).map_err(Error::of("mmap"))?;
    let result = call(target, command, &mapping);
    mapping.read_into(argument);
    result
}

/// Calls `command` with `argument` in memory that can be read and not written:
/// the kernel takes the argument, does the work, and fails to answer.
///
/// # Errors
/// EFAULT if the kernel writes to the argument, else whatever it answers.
pub fn ioctl_read_only(target: &impl Target, command: u32, argument: &[u8]) -> Result<i32> {
    let mapping = Anonymous::with(argument, Access::Read).map_err(Error::of("mmap"))?;
    call(target, command, &mapping)
}

/// Calls `command` with an address that can be neither read nor written.
///
/// # Errors
/// EFAULT if the kernel looks at the argument, else whatever it answers.
pub fn ioctl_bad_address(target: &impl Target, command: u32) -> Result<i32> {
    let mapping = Anonymous::with(&[], Access::Nothing).map_err(Error::of("mmap"))?;
    call(target, command, &mapping)
}

fn call(target: &impl Target, command: u32, mapping: &Anonymous) -> Result<i32> {
    // SAFETY: the two invariants of this module: the kernel writes nothing but
    // a structure at the pointer, of less than 4 KiB, and these bytes belong to
    // `mapping`, which is borrowed and therefore alive.
    unsafe { with_pointer(target, command, mapping.pointer()) }.map_err(Error::of("ioctl"))
}

/// The error number of a call that must not succeed; `None` if it did.
#[must_use]
pub fn refused<T>(result: &Result<T>) -> Option<Errno> {
    result.as_ref().err().map(Error::errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `/dev/null` stands in: it has no ioctl of its own, and the generic
    /// FIONREAD reports ENOTTY for it.
    fn null() -> Device {
        let file = std::fs::File::open("/dev/null").unwrap();
        Device::from_fd(file.into())
    }

    #[test]
    fn a_refusal_leaves_the_bytes_alone() {
        let mut bytes = *b"unchanged";
        let result = ioctl(&null(), 0xBA00, &mut bytes);
        assert_eq!(refused(&result), Some(Errno::ENOTTY));
        assert_eq!(&bytes, b"unchanged");
    }

    #[test]
    fn addresses_are_bad_as_promised() {
        // FIONBIO reads an int: works from a read-only page, fails elsewhere.
        const FIONBIO: u32 = 0x5421;
        assert_eq!(ioctl_read_only(&null(), FIONBIO, &[1, 0, 0, 0]), Ok(0));
        let result = ioctl_bad_address(&null(), FIONBIO);
        assert_eq!(refused(&result), Some(Errno::EFAULT));
    }
}
