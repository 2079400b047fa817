// SPDX-License-Identifier: MIT OR Apache-2.0
//! A call of live update that is being handled, and what comes of it.

use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use luo_abi::errno::Errno;

use crate::machine::Machine;
use crate::table::Table;

/// Whoever made a call: what is needed of its memory and of its descriptors.
pub(crate) trait Client {
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

/// A call on a descriptor of ours.
pub(crate) struct Call<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) table: &'a Table,
    pub(crate) caller: &'a dyn Client,
    /// The address of its argument.
    pub(crate) argument: u64,
}

/// How a call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// It returns this.
    Value(i64),
    /// It is none of ours: the kernel carries it out.
    Foreign,
    /// Nobody is to be told: the machine goes.
    Gone,
}

impl Call<'_> {
    /// A descriptor of the caller's, as a file for the engine.
    ///
    /// # Errors
    /// EBADF if there is none, it was opened with `O_PATH`, or can neither be read nor
    /// written: it would come back with more.
    pub(crate) fn file(&self, fd: RawFd) -> Result<crate::memfd::File, Errno> {
        use rustix::fs::OFlags;
        if fd < 0 {
            return Err(Errno::EBADF);
        }
        let file = self.caller.descriptor(fd)?;
        let flags = rustix::fs::fcntl_getfl(&file).map_err(|_| Errno::EBADF)?;
        // Both access bits set mean neither reading nor writing.
        if flags.contains(OFlags::PATH) || flags & OFlags::ACCMODE == OFlags::ACCMODE {
            return Err(Errno::EBADF);
        }
        Ok(Arc::new(file))
    }
}
