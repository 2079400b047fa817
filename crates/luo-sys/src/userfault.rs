// SPDX-License-Identifier: MIT OR Apache-2.0
//! Faults of a mapping that a program answers instead of the kernel (userfaultfd).
//!
//! For tests: what a VMM does whose guest's memory comes late, or is to be told of.

use core::ffi::c_void;
use core::time::Duration;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mm::UserfaultfdFlags;
use zerocopy::IntoBytes as _;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::call::with_pointer;
use crate::error::{Error, Result};
use crate::map::MappedFile;

/// Agrees on the interface.
const API: u32 = 0xc018_aa3f;
/// Faults of a range are told instead of resolved.
const REGISTER: u32 = 0xc020_aa00;
/// A page that is missing is made of what is somewhere else.
const COPY: u32 = 0xc028_aa03;
/// A range is protected against writing, or is not any more.
const PROTECT: u32 = 0xc018_aa06;
/// A page that the file has is mapped.
const CONTINUE: u32 = 0xc020_aa07;

/// `UFFD_USER_MODE_ONLY`: what any program may have.
const USER_MODE_ONLY: u32 = 1;

/// `UFFD_EVENT_PAGEFAULT`.
const PAGE_FAULT: u8 = 0x12;

/// Bytes of a page.
const PAGE: usize = 4096;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Register {
    start: u64,
    length: u64,
    mode: u64,
    ioctls: u64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Copy {
    to: u64,
    from: u64,
    length: u64,
    mode: u64,
    copied: u64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Protect {
    start: u64,
    length: u64,
    mode: u64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Continue {
    start: u64,
    length: u64,
    mode: u64,
    mapped: u64,
}

/// Agrees on the interface, with features of it.
pub(crate) fn agree(
    faults: &impl AsFd,
    features: u64,
) -> core::result::Result<(), rustix::io::Errno> {
    let mut api = Api {
        api: 0xaa,
        features,
        ioctls: 0,
    };
    structure(faults, API, api.as_mut_bytes())
}

/// Has faults of a range told.
pub(crate) fn register(
    faults: &impl AsFd,
    start: *mut c_void,
    length: usize,
    mode: u64,
) -> core::result::Result<(), rustix::io::Errno> {
    let mut register = Register {
        start: start.expose_provenance() as u64,
        length: length as u64,
        mode,
        ioctls: 0,
    };
    structure(faults, REGISTER, register.as_mut_bytes())
}

/// Calls with a structure of the command's size.
fn structure(
    fd: &impl AsFd,
    command: u32,
    bytes: &mut [u8],
) -> core::result::Result<(), rustix::io::Errno> {
    let pointer: *mut c_void = bytes.as_mut_ptr().cast();
    // SAFETY: the kernel reads and writes one structure of the command at the pointer,
    // which comes from an exclusive borrow of its bytes; it keeps no address of it. What
    // it notes of the range is memory that lives as long as the descriptor, and what it does
    // in the range is to memory that others change at any time.
    unsafe { with_pointer(fd, command, pointer) }.map(drop)
}

/// Which faults are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Those of pages that the file does not have.
    Missing,
    /// Those of pages that the file has and the mapping does not.
    Minor,
    /// Writes to pages that are protected.
    Write,
}

impl Told {
    const fn mode(self) -> u64 {
        match self {
            Self::Missing => 1,
            Self::Write => 2,
            Self::Minor => 4,
        }
    }

    /// What a kernel must have for files of memory.
    const fn feature(self) -> u64 {
        match self {
            Self::Missing => 1 << 5,
            Self::Minor => 1 << 10,
            Self::Write => 1 << 12,
        }
    }
}

/// Faults of a mapping that are told and not resolved. When it is dropped, the kernel resolves
/// them as ever.
#[derive(Debug)]
pub struct Faults<'a> {
    faults: OwnedFd,
    memory: &'a MappedFile,
}

impl<'a> Faults<'a> {
    /// Begins it.
    ///
    /// # Errors
    /// ENOSYS, EINVAL: this kernel has none, or not of this kind. ENOMEM, EMFILE.
    pub fn new(memory: &'a MappedFile, told: Told) -> Result<Self> {
        let call = "userfaultfd";
        let flags = UserfaultfdFlags::CLOEXEC
            | UserfaultfdFlags::NONBLOCK
            | UserfaultfdFlags::from_bits_retain(USER_MODE_ONLY);
        // SAFETY: by itself the descriptor changes no memory.
        let faults = unsafe { rustix::mm::userfaultfd(flags) }.map_err(Error::of(call))?;
        agree(&faults, told.feature()).map_err(Error::of(call))?;
        let (start, length) = (memory.start(), memory.len());
        register(&faults, start, length, told.mode()).map_err(Error::of(call))?;
        Ok(Self { faults, memory })
    }

    fn address(&self, offset: usize) -> u64 {
        let start = self.memory.start().expose_provenance();
        start.wrapping_add(offset) as u64
    }

    /// The page that somebody waits for; looks for as long as `timeout` says.
    ///
    /// # Errors
    /// As of `poll` and `read`.
    pub fn next(&self, timeout: Duration) -> Result<Option<usize>> {
        let call = "poll";
        let timeout =
            Timespec::try_from(timeout).map_err(|_| Error::of(call)(rustix::io::Errno::INVAL))?;
        let mut fds = [PollFd::new(&self.faults, PollFlags::IN)];
        if poll(&mut fds, Some(&timeout)).map_err(Error::of(call))? == 0 {
            return Ok(None);
        }
        let mut message = [0; 32];
        let read = rustix::io::read(&self.faults, &mut message).map_err(Error::of("read"))?;
        let mut address = [0; 8];
        address.copy_from_slice(&message[16..24]);
        let offset = u64::from_ne_bytes(address).wrapping_sub(self.address(0));
        let page = offset as usize / PAGE * PAGE;
        Ok((read == message.len() && message[0] == PAGE_FAULT).then_some(page))
    }

    /// Makes a page that is missing of some words, whoever waits for it.
    ///
    /// # Errors
    /// EEXIST: it is there. EINVAL: it is not in the mapping. ENOMEM.
    pub fn fill(&self, page: usize, words: &[u64; PAGE / 8]) -> Result<()> {
        let mut copy = Copy {
            to: self.address(page),
            from: words.as_ptr().expose_provenance() as u64,
            length: PAGE as u64,
            mode: 0,
            copied: 0,
        };
        structure(&self.faults, COPY, copy.as_mut_bytes()).map_err(Error::of("UFFDIO_COPY"))
    }

    /// Maps a page that the file has, whoever waits for it.
    ///
    /// # Errors
    /// EFAULT: the file does not have it. EEXIST: it is mapped.
    pub fn go_on(&self, page: usize) -> Result<()> {
        let mut go_on = Continue {
            start: self.address(page),
            length: PAGE as u64,
            mode: 0,
            mapped: 0,
        };
        structure(&self.faults, CONTINUE, go_on.as_mut_bytes())
            .map_err(Error::of("UFFDIO_CONTINUE"))
    }

    /// Protects a page against writing, or does not any more, whoever waits for that.
    ///
    /// # Errors
    /// EINVAL: writes are not told. ENOENT: it is not in the mapping.
    pub fn protect(&self, page: usize, is_protected: bool) -> Result<()> {
        let mut protect = Protect {
            start: self.address(page),
            length: PAGE as u64,
            mode: is_protected.into(),
        };
        structure(&self.faults, PROTECT, protect.as_mut_bytes())
            .map_err(Error::of("UFFDIO_WRITEPROTECT"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// Far longer than it takes.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn mapped() -> MappedFile {
        let file = crate::memfd::create("test", 2 * PAGE as u64).unwrap();
        MappedFile::new(&file, 2 * PAGE).unwrap()
    }

    /// A kernel may be without.
    fn faults(memory: &MappedFile, told: Told) -> Option<Faults<'_>> {
        Faults::new(memory, told).ok()
    }

    #[test]
    fn a_page_that_is_missing_is_made() {
        let memory = mapped();
        let Some(faults) = faults(&memory, Told::Missing) else {
            return;
        };
        thread::scope(|scope| {
            let reads = scope.spawn(|| memory.load(PAGE + 8));
            assert_eq!(faults.next(PATIENCE).unwrap(), Some(PAGE));
            faults.fill(PAGE, &[7; PAGE / 8]).unwrap();
            assert_eq!(reads.join().unwrap(), Ok(7));
        });
        assert!(faults.fill(PAGE, &[7; PAGE / 8]).is_err());
        assert_eq!(faults.next(Duration::ZERO).unwrap(), None);
    }

    #[test]
    fn a_write_to_a_protected_page_waits() {
        let memory = mapped();
        memory.store(0, 1).unwrap();
        let Some(faults) = faults(&memory, Told::Write) else {
            return;
        };
        faults.protect(0, true).unwrap();
        thread::scope(|scope| {
            let writes = scope.spawn(|| memory.store(0, 2));
            assert_eq!(faults.next(PATIENCE).unwrap(), Some(0));
            assert_eq!(memory.load(0), Ok(1));
            faults.protect(0, false).unwrap();
            assert_eq!(writes.join().unwrap(), Ok(()));
        });
        assert_eq!(memory.load(0), Ok(2));
    }
}
