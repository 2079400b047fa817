// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctls without manners: any number, any bytes, any address.
//!
//! For tests of what the kernel refuses. The calls are safe all the same:
//!
//! # Invariants
//! - They work on [`Device`] and [`Session`] only ([`Target`] is sealed). What
//!   these files and the kernel's generic ioctls read or write is a structure
//!   at the argument, never anything behind a pointer in it. The calls that
//!   list are the exception: [`ioctl`] and [`ioctl_read_only`] take them only
//!   if the address in the structure is null, and [`list`] puts one there.
//! - The argument always lies at the start of a 64 KiB mapping of its own that
//!   no Rust reference points into. A size-first ioctl writes at most the
//!   structure that the kernel knows, whatever size the caller claims; so do the
//!   generic ones. A kernel without a limit may read on behind the mapping,
//!   which changes nothing.

use core::mem::offset_of;
use std::os::fd::AsFd;

use luo_abi::calls::Call;
use luo_abi::contract::List;
use luo_abi::errno::Errno;
use rustix::fs::OFlags;
use zerocopy::{FromBytes, IntoBytes};

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
///
/// # Panics
/// If the call lists and the structure has an address in it.
pub fn ioctl(target: &impl Target, command: u32, argument: &mut [u8]) -> Result<i32> {
    check_address(command, argument);
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
///
/// # Panics
/// As [`ioctl`].
pub fn ioctl_read_only(target: &impl Target, command: u32, argument: &[u8]) -> Result<i32> {
    check_address(command, argument);
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

/// Calls one that lists, with any values in the structure but its address:
/// the entries go to memory of their own, of which the beginning is copied to
/// `entries`. `argument` is the structure as the kernel leaves it.
///
/// # Errors
/// Whatever the kernel answers; E2BIG if more than 64 KiB of entries are asked
/// for.
///
/// # Panics
/// If `command` is none that lists.
pub fn list(
    target: &impl Target,
    command: u32,
    argument: &mut List,
    entries: &mut [u8],
) -> Result<i32> {
    assert!(lists(command), "{command:#x} does not list");
    let bytes = u64::from(argument.capacity) * u64::from(argument.entry_size);
    if bytes > Anonymous::LENGTH as u64 {
        return Err(Error::of("ioctl")(rustix::io::Errno::TOOBIG));
    }
    let room = Anonymous::with(entries, Access::ReadWrite).map_err(Error::of("mmap"))?;
    argument.entries = room.pointer().expose_provenance() as u64;
    let mapping =
        Anonymous::with(argument.as_bytes(), Access::ReadWrite).map_err(Error::of("mmap"))?;
    let result = call(target, command, &mapping);
    let mut answer = [0; size_of::<List>()];
    mapping.read_into(&mut answer);
    room.read_into(entries);
    if let Ok(answer) = List::read_from_bytes(&answer) {
        *argument = answer;
    }
    result
}

/// Opens the device with `O_EXCL`.
///
/// # Errors
/// EINVAL, or none in mainline; else as [`Device::open`].
pub fn open_exclusive() -> Result<Device> {
    Device::open_with(OFlags::EXCL)
}

/// Whether a call has an address in its structure.
fn lists(command: u32) -> bool {
    Call::of(command).is_some_and(|call| call.list.is_some())
}

/// Asserts that the kernel will not follow an address in the argument. The
/// page at null is mapped in no process of ours. What lies behind the bytes is
/// zero.
fn check_address(command: u32, argument: &[u8]) {
    let start = offset_of!(List, entries);
    let address = argument.iter().skip(start).take(size_of::<u64>());
    let null = address.into_iter().all(|&byte| byte == 0);
    assert!(null || !lists(command), "use raw::list");
}

fn call(target: &impl Target, command: u32, mapping: &Anonymous) -> Result<i32> {
    // SAFETY: the two invariants of this module: the kernel writes nothing but
    // a structure at the pointer, of less than 4 KiB, and these bytes belong to
    // `mapping`, which is borrowed and therefore alive. If the structure has
    // an address in it, it is null, or `list` put it there and bounded what the
    // kernel may write behind it by the size of a mapping that outlives this.
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
    use luo_abi::contract;

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
    #[should_panic(expected = "use raw::list")]
    fn no_address_of_the_callers_choice_gets_through() {
        let _ = ioctl(&null(), contract::LIST_FILES, &mut [0xff; 56]);
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
