// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file's memory, mapped and shared.

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};
use std::os::fd::{AsFd, AsRawFd as _};

use rustix::mm::{MapFlags, ProtFlags};

use crate::error::{Error, Result};

/// Bytes of the unit in which mapped memory is read and written.
const WORD: usize = size_of::<u64>();

/// A shared, writable mapping of the beginning of a memfd.
///
/// Others may write the same memory at any time: another thread, another
/// process, the kernel. Therefore this type never gives out a reference to it;
/// it reads and writes whole words of 64 bits, atomically and without any
/// order between them. A program that needs an order uses a lock or a fence.
///
/// ```
/// use luo_sys::{MappedFile, memfd};
/// let file = memfd::create("ram", 4096)?;
/// let map = MappedFile::new(&file, 4096)?;
/// map.store(8, 4711).unwrap();
/// assert_eq!(map.load(8).unwrap(), 4711);
/// assert!(map.load(4096).is_err());
/// # Ok::<(), luo_sys::Error>(())
/// ```
///
/// # Invariants
/// `pointer` is the start of a mapping of `words` words, page-aligned and
/// therefore word-aligned, that exists until this value is dropped.
///
/// A file that shrinks below the mapping turns an access into SIGBUS, which
/// ends the process and is no undefined behaviour. Seal the file, or preserve
/// it, to rule that out.
#[derive(Debug)]
pub struct MappedFile {
    pointer: *mut c_void,
    words: usize,
}

/// An offset that is not a multiple of 8, or a range outside of the mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset} is outside of the mapping or not a multiple of 8")]
pub struct OutOfRange {
    /// The offset in bytes.
    pub offset: usize,
}

impl MappedFile {
    /// Maps the first `length` bytes of `file`, rounded down to whole words.
    ///
    /// # Errors
    /// EACCES: the file is not open for reading and writing. EPERM: it is
    /// sealed against writing. EINVAL: the length is below 8. ENOMEM.
    pub fn new(file: impl AsFd, length: usize) -> Result<Self> {
        let words = length / WORD;
        // SAFETY: a new mapping at an address of the kernel's choice replaces
        // nothing, and memory shared with others is accessed by atomics only.
        unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                words * WORD,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                file,
                0,
            )
        }
        .map(|pointer| Self { pointer, words })
        .map_err(Error::of("mmap"))
    }

    /// Says of the whole mapping how its pages are to be treated; none of it changes what is in them.
    fn advise(&self, how: libc::c_int) -> Result<()> {
        debug_assert!(matches!(how, libc::MADV_COLLAPSE | libc::MADV_PAGEOUT));
        // SAFETY: By the invariant the range is a mapping of ours. What is in it stays the same.
        match unsafe { libc::madvise(self.pointer, self.len(), how) } {
            0 => Ok(()),
            _ => Err(Error::last("madvise")),
        }
    }

    /// Where a part of the mapping begins: in it, or at its end.
    ///
    /// # Errors
    /// EINVAL: it is not a part of it.
    fn part(&self, call: &'static str, offset: usize, length: usize) -> Result<*mut libc::c_void> {
        match offset.checked_add(length) {
            Some(end) if end <= self.len() => Ok(self.pointer.wrapping_byte_add(offset)),
            _ => Err(Error::of(call)(rustix::io::Errno::INVAL)),
        }
    }

    /// Has the kernel join the pages of the mapping to huge ones, as khugepaged does
    /// (`MADV_COLLAPSE`).
    ///
    /// # Errors
    /// EINVAL: the kernel cannot. EAGAIN, ENOMEM: not all of them could be joined.
    pub fn collapse(&self) -> Result<()> {
        self.advise(libc::MADV_COLLAPSE)
    }

    /// Has the kernel take a page of the mapping for one whose memory has failed, as a machine
    /// check does (`MADV_HWPOISON`): that page is lost until the machine boots anew, and whoever
    /// looks at it afterwards is ended by SIGBUS.
    ///
    /// # Errors
    /// EINVAL: the kernel cannot, or there is no such page. EPERM. EBUSY: it has failed, and others
    /// refer to it still.
    pub fn poison(&self, offset: usize) -> Result<()> {
        let call = "madvise";
        const PAGE: usize = 4096;
        if offset % PAGE != 0 || offset.saturating_add(PAGE) > self.len() {
            return Err(Error::of(call)(rustix::io::Errno::INVAL));
        }
        let at = self.pointer.wrapping_byte_add(offset);
        // SAFETY: By the invariant and the look above this is a page of a mapping of ours. All
        // access to what is in it is by this process's atomics, or ends in a signal.
        match unsafe { libc::madvise(at, PAGE, libc::MADV_HWPOISON) } {
            0 => Ok(()),
            _ => Err(Error::last(call)),
        }
    }

    /// Puts pages of the mapping into a pipe as they are: nothing is copied, and the pipe refers to
    /// them until they are read from it, as a device does that is told to read them.
    ///
    /// # Errors
    /// EINVAL: not whole pages of it. EAGAIN: they do not fit. EBADF: not a pipe.
    pub fn lend_to(&self, pipe: impl AsFd, offset: usize, length: usize) -> Result<usize> {
        let call = "vmsplice";
        let slice = libc::iovec {
            iov_base: self.part(call, offset, length)?,
            iov_len: length,
        };
        let pipe = pipe.as_fd().as_raw_fd();
        // SAFETY: by the invariant and the look of `part` this is memory of the mapping, which may be
        // changed and read by others at any time. The pipe has pages, and no addresses.
        let lent = unsafe { libc::vmsplice(pipe, &raw const slice, 1, libc::SPLICE_F_NONBLOCK) };
        usize::try_from(lent).map_err(|_| Error::last(call))
    }

    /// Gives pages of the mapping back, as a balloon does (`MADV_REMOVE`): there is a hole in the file
    /// then.
    ///
    /// # Errors
    /// EINVAL: not whole pages of it. EPERM: the file is held still.
    pub fn remove(&self, offset: usize, length: usize) -> Result<()> {
        let call = "madvise";
        let at = self.part(call, offset, length)?;
        // SAFETY: by the invariant and the look of `part` this is a range of the mapping, and stays
        // one. What is in it may be changed by others at any time.
        match unsafe { libc::madvise(at, length, libc::MADV_REMOVE) } {
            0 => Ok(()),
            _ => Err(Error::last(call)),
        }
    }

    /// Has the kernel swap out the pages that the mapping has, as it does when memory is short
    /// (`MADV_PAGEOUT`). Not all of them need have gone when it returns.
    ///
    /// # Errors
    /// EINVAL: the kernel cannot.
    pub fn page_out(&self) -> Result<()> {
        self.advise(libc::MADV_PAGEOUT)
    }

    /// Reads from the beginning of a file into the mapping, and says how many bytes. Of a file that
    /// is open for that (`O_DIRECT`) the device writes into the pages themselves.
    ///
    /// # Errors
    /// EINVAL: not a range of it; those of pread(2).
    pub fn read_from(&self, file: impl AsFd, offset: usize, length: usize) -> Result<usize> {
        let call = "pread";
        let to = self.part(call, offset, length)?;
        // SAFETY: by the invariant and the look of `part` this is memory of the mapping, which may be
        // written by others at any time.
        let read = unsafe { libc::pread(file.as_fd().as_raw_fd(), to, length, 0) };
        usize::try_from(read).map_err(|_| Error::last(call))
    }

    /// Where it begins, as a number: what `/proc/self/pagemap` is asked for.
    #[must_use]
    pub fn address(&self) -> usize {
        self.pointer.addr()
    }

    /// Where it begins.
    pub(crate) const fn start(&self) -> *mut c_void {
        self.pointer
    }

    /// Bytes of the mapping.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.words * WORD
    }

    /// Whether the mapping has no byte; never true.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.words == 0
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: by the invariant the mapping holds `words` aligned words for
        // as long as `self` is borrowed. Every bit pattern is a valid
        // `AtomicU64`, and all access of this process is through it.
        unsafe { core::slice::from_raw_parts(self.pointer.cast(), self.words) }
    }

    fn range(&self, offset: usize, count: usize) -> core::result::Result<&[AtomicU64], OutOfRange> {
        let start = offset / WORD;
        start
            .checked_add(count)
            .filter(|_| offset % WORD == 0)
            .and_then(|end| self.words().get(start..end))
            .ok_or(OutOfRange { offset })
    }

    /// Reads the word at `offset` bytes.
    ///
    /// # Errors
    /// [`OutOfRange`].
    pub fn load(&self, offset: usize) -> core::result::Result<u64, OutOfRange> {
        let words = self.range(offset, 1)?;
        Ok(words[0].load(Ordering::Relaxed))
    }

    /// Writes the word at `offset` bytes.
    ///
    /// # Errors
    /// [`OutOfRange`].
    pub fn store(&self, offset: usize, value: u64) -> core::result::Result<(), OutOfRange> {
        let words = self.range(offset, 1)?;
        words[0].store(value, Ordering::Relaxed);
        Ok(())
    }

    /// Reads words from `offset` bytes on.
    ///
    /// # Errors
    /// [`OutOfRange`]; then nothing was read.
    pub fn copy_out(
        &self,
        offset: usize,
        into: &mut [u64],
    ) -> core::result::Result<(), OutOfRange> {
        let words = self.range(offset, into.len())?;
        for (to, from) in into.iter_mut().zip(words) {
            *to = from.load(Ordering::Relaxed);
        }
        Ok(())
    }

    /// Writes words from `offset` bytes on.
    ///
    /// # Errors
    /// [`OutOfRange`]; then nothing was written.
    pub fn copy_in(&self, offset: usize, from: &[u64]) -> core::result::Result<(), OutOfRange> {
        let words = self.range(offset, from.len())?;
        for (to, &from) in words.iter().zip(from) {
            to.store(from, Ordering::Relaxed);
        }
        Ok(())
    }
}

// SAFETY: the mapping belongs to the process, not to a thread, and all access
// is by atomics.
unsafe impl Send for MappedFile {}
// SAFETY: as above.
unsafe impl Sync for MappedFile {}

impl Drop for MappedFile {
    fn drop(&mut self) {
        // SAFETY: by the invariant this value owns the mapping, and references
        // into it live no longer than a borrow of this value. A failure leaks
        // it, which is harmless.
        let _ = unsafe { rustix::mm::munmap(self.pointer, self.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn the_mapping_is_the_file() {
        let file = crate::memfd::create("test", 4096).unwrap();
        let map = MappedFile::new(&file, 4096).unwrap();
        map.copy_in(16, &[1, u64::MAX]).unwrap();
        let mut bytes = [0; 16];
        file.read_exact_at(&mut bytes, 16).unwrap();
        assert_eq!(bytes[..8], 1u64.to_ne_bytes());
        assert_eq!(bytes[8..], [0xff; 8]);
        file.write_all_at(&[7; 8], 24).unwrap();
        let mut words = [0; 2];
        map.copy_out(16, &mut words).unwrap();
        assert_eq!(words, [1, u64::from_ne_bytes([7; 8])]);
    }

    #[test]
    fn a_pipe_has_the_page_itself() {
        let file = crate::memfd::create("test", 8192).unwrap();
        let map = MappedFile::new(&file, 8192).unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        map.store(4096, 1).unwrap();
        assert_eq!(map.lend_to(&writer, 4096, 4096).unwrap(), 4096);
        map.store(4096, 2).unwrap();
        let mut bytes = [0; 8];
        assert_eq!(rustix::io::read(&reader, &mut bytes).unwrap(), 8);
        assert_eq!(u64::from_ne_bytes(bytes), 2);
        assert!(map.lend_to(&writer, 4096, 8192).is_err());
        assert!(map.lend_to(&writer, usize::MAX, 8).is_err());
    }

    #[test]
    fn what_is_removed_is_a_hole() {
        let file = crate::memfd::create("test", 8192).unwrap();
        let map = MappedFile::new(&file, 8192).unwrap();
        map.copy_in(4088, &[1, 2]).unwrap();
        map.remove(4096, 4096).unwrap();
        assert_eq!((map.load(4088), map.load(4096)), (Ok(1), Ok(0)));
        assert!(map.remove(4096, 8192).is_err());
        assert!(map.remove(8, 4096).is_err());
    }

    #[test]
    fn a_file_is_read_into_it() {
        let file = crate::memfd::create("test", 8192).unwrap();
        let map = MappedFile::new(&file, 8192).unwrap();
        let from = crate::memfd::create("from", 4096).unwrap();
        from.write_all_at(&[7; 16], 0).unwrap();
        assert_eq!(map.read_from(&from, 4096, 4096).unwrap(), 4096);
        assert_eq!(map.load(4096 + 8).unwrap(), u64::from_ne_bytes([7; 8]));
        assert_eq!(map.load(4096 + 16).unwrap(), 0);
        // Without room for it nothing goes out, and all stays as it is.
        map.page_out().unwrap();
        assert_eq!(map.load(4096).unwrap(), u64::from_ne_bytes([7; 8]));
        assert!(map.read_from(&from, 4096, 4097).is_err());
        assert!(map.read_from(&from, usize::MAX, 1).is_err());
    }

    #[test]
    fn every_offset_is_checked() {
        let file = crate::memfd::create("test", 4096).unwrap();
        let map = MappedFile::new(&file, 4096).unwrap();
        assert_eq!(map.len(), 4096);
        assert!(map.load(4088).is_ok());
        assert!(map.load(4096).is_err());
        assert!(map.load(3).is_err());
        assert!(map.copy_in(4088, &[0, 0]).is_err());
        assert!(map.copy_out(usize::MAX - 7, &mut [0]).is_err());
    }
}
