// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one place where an ioctl leaves the process.

use core::ffi::c_void;
use core::mem::size_of;
use std::os::fd::{AsFd, FromRawFd as _, OwnedFd, RawFd};

use luo_abi::uapi::Argument;
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};
use zerocopy::{FromBytes, IntoBytes};

use crate::error::{Error, Result};

/// Runs `command` on a device or session with a structure of its own. A failure names
/// the call by [`luo_abi::calls::CALLS`], here and in the two that follow.
///
/// `command` and `T` must be a pair of [`luo_abi::uapi`] or
/// [`luo_abi::contract`] without an address in it; the structure's size
/// field must hold at most its size, which is what bounds the kernel's copies.
pub(crate) fn with_argument<T>(fd: &impl AsFd, command: u32, argument: &mut T) -> Result<()>
where
    T: Argument + FromBytes + IntoBytes,
{
    let pointer: *mut T = argument;
    // SAFETY: `pointer` comes from an exclusive borrow that lasts for the
    // call. The kernel copies at most as many bytes as the structure's first
    // field says, which is its own size, in and out; any bytes it may write
    // are a valid `T` (`FromBytes`).
    let done = unsafe { with_pointer(fd, command, pointer.cast()) };
    done.map(drop).map_err(Error::of_command(command))
}

/// Runs a `command` whose value says how large its structure is: those of
/// [`luo_abi::rfc`].
///
/// # Panics
/// If the structure has another size: the two do not belong together.
pub(crate) fn with_fixed<T>(fd: &impl AsFd, command: u32, argument: &mut T) -> Result<()>
where
    T: FromBytes + IntoBytes,
{
    assert_eq!(encoded_size(command), size_of::<T>(), "{command:#x}");
    let pointer: *mut T = argument;
    // SAFETY: `pointer` comes from an exclusive borrow that lasts for the
    // call. The kernel copies exactly as many bytes as the command's value
    // encodes, which was found to be the structure's size; any bytes it may
    // write are a valid `T` (`FromBytes`).
    let done = unsafe { with_pointer(fd, command, pointer.cast()) };
    done.map(drop).map_err(Error::of_command(command))
}

/// Runs a `command` that has no argument.
///
/// # Panics
/// If it has one.
pub(crate) fn without_argument(fd: &impl AsFd, command: u32) -> Result<()> {
    assert_eq!(encoded_size(command), 0, "{command:#x}");
    // SAFETY: the null page is mapped in no process of ours, so whatever an
    // implementation without this command does there ends in EFAULT.
    let done = unsafe { with_pointer(fd, command, core::ptr::null_mut()) };
    done.map(drop).map_err(Error::of_command(command))
}

/// The bits of a command's value that hold the size of its argument.
const fn encoded_size(command: u32) -> usize {
    (command >> 16) as usize & 0x3fff
}

/// Runs `command` with a bare pointer and returns the call's own value.
///
/// # Safety
/// Whatever the kernel reads or writes through `pointer` for this command on
/// this file must be memory that the caller may let it read or write, or no
/// accessible memory at all.
pub(crate) unsafe fn with_pointer(
    fd: &impl AsFd,
    command: u32,
    pointer: *mut c_void,
) -> core::result::Result<i32, Errno> {
    // SAFETY: the caller vouches for the pointer; `Call` adds nothing to it.
    unsafe { rustix::ioctl::ioctl(fd, Call { command, pointer }) }
}

/// An ioctl whose number is known at run time only.
struct Call {
    command: u32,
    pointer: *mut c_void,
}

// SAFETY: the pointer is passed through untouched and the output is the
// call's return value, so this impl makes no claim about memory; that is the
// contract of `with_pointer`, the only place that makes a `Call`.
unsafe impl Ioctl for Call {
    type Output = i32;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.command
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.pointer
    }

    unsafe fn output_from_ptr(
        output: IoctlOutput,
        _pointer: *mut c_void,
    ) -> rustix::io::Result<i32> {
        Ok(output)
    }
}

/// Takes ownership of a descriptor that a successful ioctl returned.
pub(crate) fn owned(fd: RawFd) -> OwnedFd {
    assert!(fd >= 0, "the kernel reported success without a descriptor");
    // SAFETY: the kernel has just installed `fd` in this process for the
    // caller of the ioctl, so nobody else knows or owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use luo_abi::rfc;

    #[test]
    fn a_command_knows_its_size() {
        assert_eq!(
            encoded_size(rfc::FD_PRESERVE),
            size_of::<rfc::LiveupdateFd>()
        );
        assert_eq!(encoded_size(rfc::FD_UNPRESERVE), 8);
        assert_eq!(encoded_size(rfc::GET_STATE), 4);
        assert_eq!(encoded_size(rfc::EVENT_PREPARE), 0);
    }
}
