// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that the kernel has pinned for longer, as it does for a device that may read it and
//! write to it at any time (io_uring's registered buffers, vhost, vfio).
//!
//! For tests: it is done by a driver of the kernel's own (`CONFIG_GUP_TEST`), so no device is needed.

use core::ffi::c_void;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use zerocopy::IntoBytes as _;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::call::with_pointer;
use crate::error::{Error, Result};
use crate::map::MappedFile;

/// The driver.
const PATH: &str = "/sys/kernel/debug/gup_test";

/// Pins a range of the caller's, until the file is closed.
const START: u32 = 0x4018_6707;
/// Copies what the pinned pages have to an address.
const READ: u32 = 0x4008_6709;

/// They are pinned to be written.
const WRITES: u32 = 1;

/// `struct pin_longterm_test`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Range {
    address: u64,
    size: u64,
    flags: u32,
    reserved: u32,
}

/// A mapping whose pages are pinned. Ends when it is dropped.
#[derive(Debug)]
pub struct Pinned {
    driver: OwnedFd,
    memory: MappedFile,
}

impl Pinned {
    /// Pins all pages of a mapping, which has whole ones.
    ///
    /// # Errors
    /// ENOENT, EACCES: there is no such driver, or it is not the caller's. EINVAL: not whole pages;
    /// those of pinning them.
    pub fn new(memory: MappedFile) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let opened = rustix::fs::open(PATH, flags, Mode::empty());
        let driver = opened.map_err(Error::of("open"))?;
        let mut range = Range {
            address: memory.address() as u64,
            size: memory.len() as u64,
            flags: WRITES,
            reserved: 0,
        };
        let pointer: *mut Range = &raw mut range;
        // SAFETY: the kernel reads as many bytes as the structure has. To the pages, which are those
        // of a mapping that is accessed by atomics only, the driver never writes.
        unsafe { with_pointer(&driver, START, pointer.cast::<c_void>()) }
            .map_err(Error::of("ioctl"))?;
        Ok(Self { driver, memory })
    }

    /// The mapping.
    #[must_use]
    pub const fn memory(&self) -> &MappedFile {
        &self.memory
    }

    /// What the pages have that were pinned: those of the mapping, as long as no other is in the place
    /// of one.
    ///
    /// # Errors
    /// Those of the call.
    pub fn words(&self) -> Result<Vec<u64>> {
        let mut words = vec![0u64; self.memory.len() / size_of::<u64>()];
        let mut to = words.as_mut_bytes().as_mut_ptr().expose_provenance() as u64;
        let pointer: *mut u64 = &raw mut to;
        // SAFETY: the kernel reads the address, and writes as many bytes there as were pinned: those
        // of the whole mapping, for which there is room.
        unsafe { with_pointer(&self.driver, READ, pointer.cast::<c_void>()) }
            .map_err(Error::of("ioctl"))?;
        Ok(words)
    }
}
