// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory whose first page is not there until somebody says so.
//!
//! For tests: a program that writes such memory to a file stops in the middle of the
//! write, with the file's lock held, for as long as another wants. A file system in user
//! space that is slow, or hostile, does the same.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::anonymous::{Access, Anonymous};
use crate::call::{owned, with_pointer};
use crate::error::{Error, Result};
use crate::userfault;

/// A program that may open this may leave faults of the kernel unanswered.
pub const DEVICE: &str = "/dev/userfaultfd";

/// Makes a descriptor, with flags as of `open`.
const NEW: u32 = 0xaa00;
/// A page that is not there yet.
pub struct Unanswered {
    memory: Anonymous,
    /// While it is open, who touches the page waits.
    faults: Mutex<Option<OwnedFd>>,
}

// SAFETY: the mapping belongs to the process, not to a thread; nobody writes to it.
unsafe impl Send for Unanswered {}
// SAFETY: as above: it is only ever read, by the kernel.
unsafe impl Sync for Unanswered {}

impl Unanswered {
    /// Whether this kernel has such memory.
    #[must_use]
    pub fn is_there() -> bool {
        Path::new(DEVICE).exists()
    }

    /// Such memory.
    ///
    /// # Errors
    /// ENOENT, EACCES: the device is not there, or not for this program. ENOMEM, EMFILE.
    pub fn new() -> Result<Self> {
        let call = "userfaultfd";
        let device = rustix::fs::open(
            DEVICE,
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .map_err(Error::of(DEVICE))?;
        let memory = Anonymous::with(&[], Access::ReadWrite).map_err(Error::of("mmap"))?;
        // The kernel tells of faults by poll only where nobody can wait in a read for them.
        let flags = rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
        let flags = flags.bits() as usize;
        // SAFETY: this command takes flags in place of an address.
        let made = unsafe { with_pointer(&device, NEW, core::ptr::without_provenance_mut(flags)) };
        let faults = owned(made.map_err(Error::of(call))?);
        userfault::agree(&faults, 0).map_err(Error::of(call))?;
        // Pages that are missing.
        userfault::register(&faults, memory.pointer(), Anonymous::LENGTH, 1)
            .map_err(Error::of(call))?;
        Ok(Self {
            memory,
            faults: Mutex::new(Some(faults)),
        })
    }

    /// Writes a byte of it to the beginning of a file. It does not come back before
    /// [`Self::answer`], or the end of the process.
    ///
    /// # Errors
    /// As of `write`.
    pub fn write_to(&self, file: &File) -> Result<usize> {
        rustix::io::pwrite(file, self.byte(), 0).map_err(Error::of("pwrite"))
    }

    /// [`Self::write_to`] for what has no beginning, such as a pipe.
    ///
    /// # Errors
    /// As of `write`.
    pub fn write_into(&self, file: impl AsFd) -> Result<usize> {
        rustix::io::write(file, self.byte()).map_err(Error::of("write"))
    }

    fn byte(&self) -> &[u8] {
        // SAFETY: the mapping is readable, longer than a byte, alive while `self` is
        // borrowed, and nobody writes to it: what it holds is zeros.
        unsafe { core::slice::from_raw_parts(self.memory.pointer().cast::<u8>(), 1) }
    }

    /// Whether somebody waits for a page of it; looks for as long as `timeout` says. Nobody
    /// does after [`Self::answer`].
    ///
    /// # Errors
    /// As of `poll`.
    pub fn is_reached(&self, timeout: Duration) -> Result<bool> {
        let call = "poll";
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(faults) = faults.as_ref() else {
            return Ok(false);
        };
        let timeout =
            Timespec::try_from(timeout).map_err(|_| Error::of(call)(rustix::io::Errno::INVAL))?;
        let mut fds = [PollFd::new(faults, PollFlags::IN)];
        Ok(poll(&mut fds, Some(&timeout)).map_err(Error::of(call))? > 0)
    }

    /// From now on its pages are there.
    pub fn answer(&self) {
        drop(
            self.faults
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }
}
