// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is needed of a program that calls.

use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use luo_abi::errno::Errno;
use luo_calls::Identity;

/// A program that has made a call: what is needed of its memory and of its descriptors.
pub(crate) trait Client {
    /// Who it is now.
    fn identity(&self) -> Identity;

    /// A copy of one of its descriptors.
    ///
    /// # Errors
    /// EBADF: there is none. EPERM: something forbids to look.
    fn descriptor(&self, fd: RawFd) -> Result<OwnedFd, Errno>;

    /// Reads its memory.
    ///
    /// # Errors
    /// EFAULT.
    fn read(&self, address: u64, to: &mut [u8]) -> Result<(), Errno>;

    /// Writes its memory.
    ///
    /// # Errors
    /// EFAULT.
    fn write(&self, address: u64, from: &[u8]) -> Result<(), Errno>;

    /// Gives it a descriptor.
    ///
    /// # Errors
    /// EMFILE: it has too many.
    fn install(&self, fd: BorrowedFd<'_>, close_on_exec: bool) -> Result<RawFd, Errno>;
}
