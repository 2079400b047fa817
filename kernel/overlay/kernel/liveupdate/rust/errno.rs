// SPDX-License-Identifier: GPL-2.0-only
//! Errors of the engine as errors of the kernel, and back.

use kernel::error::Error;
use luo_abi::errno::Errno;

/// The kernel's error for an error number of the ABI.
pub(crate) fn to_kernel(errno: Errno) -> Error {
    Error::from_errno(errno.to_ret())
}

/// The kernel's error for what an operation of the engine said.
pub(crate) fn of_operation(why: luo_core::Error) -> Error {
    to_kernel(why.errno())
}

/// The ABI's error number for an error of the kernel.
pub(crate) fn of_kernel(error: Error) -> Errno {
    match Errno::check(error.to_errno()) {
        Err(errno) => errno,
        // An `Error` is never a success.
        Ok(_) => Errno::EIO,
    }
}
