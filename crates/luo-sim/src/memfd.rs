// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memfds: what the kernel's handler in Rust does, for those of supervised programs.
//!
//! Contents are not copied: the simulator holds the memfd itself over the jump,
//! which is safe because every supervised process is gone by then. The next kernel's
//! program gets a new open file, with the position and the flags of the old one. One thing
//! shows: the inode number of the memfd stays.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use luo_abi::errno::Errno;
use luo_core::{Access, BlockMemory};
use rustix::fs::{FileType, Mode, OFlags, SealFlags, SeekFrom};

use crate::descriptor::File;
use crate::memory::{Kept, Memory};

/// What the handler calls itself in a handover.
pub(crate) const COMPATIBLE: &str = "memfd-v2";

/// The same where memfds are handed over in runs of pages.
pub(crate) const RUNS: &str = "luo-memfd-v1";

/// From `linux/magic.h`: memfds live in file systems of these types.
const TMPFS_MAGIC: u64 = 0x0102_1994;
const HUGETLBFS_MAGIC: u64 = 0x9584_58f6;

/// Bytes of the pages that sizes are rounded up to.
const PAGE: u64 = 4096;

/// The seals that the kernel's handler knows.
const SEALS: SealFlags = SealFlags::SEAL
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::WRITE)
    .union(SealFlags::FUTURE_WRITE)
    .union(EXEC);

/// `F_SEAL_EXEC`.
const EXEC: SealFlags = SealFlags::from_bits_retain(0x20);

/// An error of a system call, as the engine has them.
pub(crate) fn errno(error: rustix::io::Errno) -> Errno {
    match Errno::check(error.raw_os_error().wrapping_neg()) {
        Err(errno) => errno,
        Ok(_) => Errno::EIO,
    }
}

/// The kernel's own condition: a file of shared memory that has no name.
pub(crate) fn is_memfd(file: &OwnedFd) -> bool {
    is_nameless(file, TMPFS_MAGIC)
}

/// The same of huge pages. Whether it is on a mount that somebody can see is not seen here.
pub(crate) fn is_huge(file: &OwnedFd) -> bool {
    is_nameless(file, HUGETLBFS_MAGIC)
}

fn is_nameless(file: &OwnedFd, magic: u64) -> bool {
    // Some machines give words that are signed.
    let is_there = |found: u64| found & 0xffff_ffff == magic;
    let in_memory = rustix::fs::fstatfs(file).is_ok_and(|fs| is_there(fs.f_type as u64));
    let nameless = rustix::fs::fstat(file).is_ok_and(|stat| {
        stat.st_nlink == 0 && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
    });
    in_memory && nameless
}

/// Which object a file stands for.
pub(crate) fn object_id(file: &OwnedFd) -> u64 {
    rustix::fs::fstat(file).map_or(0, |stat| object_of(stat.st_dev, stat.st_ino))
}

/// The same of a device and a number on it.
pub(crate) fn object_of(device: u64, inode: u64) -> u64 {
    inode ^ device.rotate_left(40)
}

fn size(file: &OwnedFd) -> Result<u64, Errno> {
    let stat = rustix::fs::fstat(file).map_err(errno)?;
    Ok(stat.st_size.unsigned_abs())
}

fn is_regular(file: &OwnedFd) -> bool {
    rustix::fs::fstat(file)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

/// Bytes of memory that a file stands for, in whole pages.
pub(crate) fn bytes(file: &OwnedFd) -> u64 {
    if is_regular(file) {
        size(file).map_or(0, |size| size.next_multiple_of(PAGE))
    } else {
        0
    }
}

/// What a file was opened for.
pub(crate) fn access(file: &OwnedFd) -> Access {
    let flags = rustix::fs::fcntl_getfl(file).unwrap_or(OFlags::RDWR);
    match flags & OFlags::ACCMODE {
        OFlags::RDONLY if is_regular(file) => Access::ReadOnly,
        OFlags::WRONLY if is_regular(file) => Access::WriteOnly,
        _ => Access::Full,
    }
}

/// Flags of an open file that outlive it.
const KEPT_FLAGS: OFlags = OFlags::APPEND
    .union(OFlags::NONBLOCK)
    .union(OFlags::DIRECT)
    .union(OFlags::NOATIME);

/// Opens what `file` is anew, at the same position and with the same flags.
pub(crate) fn reopen(file: &OwnedFd, access: Access) -> Result<File, Errno> {
    let flags = match access {
        Access::Full => OFlags::RDWR,
        Access::ReadOnly => OFlags::RDONLY,
        Access::WriteOnly => OFlags::WRONLY,
    };
    // Of this thread: the process has other descriptors.
    let path = format!("/proc/thread-self/fd/{}", file.as_raw_fd());
    let flags = flags | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(errno)?;
    let position = rustix::fs::tell(file).map_err(errno)?;
    rustix::fs::seek(&opened, SeekFrom::Start(position)).map_err(errno)?;
    let kept = rustix::fs::fcntl_getfl(file).map_err(errno)? & KEPT_FLAGS;
    rustix::fs::fcntl_setfl(&opened, kept).map_err(errno)?;
    Ok(Arc::new(opened.into()))
}

/// What the page of a memfd says of it: five words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    size: u64,
    position: u64,
    seals: u32,
}

impl Record {
    const MAGIC: u64 = u64::from_ne_bytes(*b"simmemfd");
    const LENGTH: usize = 5 * size_of::<u64>();

    fn of(file: &OwnedFd) -> Result<Self, Errno> {
        Ok(Self {
            size: size(file)?,
            position: rustix::fs::tell(file).map_err(errno)?,
            seals: rustix::fs::fcntl_get_seals(file).map_err(errno)?.bits(),
        })
    }

    fn words(self) -> [u64; 5] {
        let words = [Self::MAGIC, self.size, self.position, self.seals.into()];
        let [magic, size, position, seals] = words;
        [magic, size, position, seals, checksum(&words)]
    }

    fn write(self, page: &mut [u8]) {
        for (to, word) in page.chunks_exact_mut(size_of::<u64>()).zip(self.words()) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
    }

    /// # Errors
    /// EINVAL if the page is damaged.
    fn read(page: &[u8]) -> Result<Self, Errno> {
        let bytes = page.get(..Self::LENGTH).ok_or(Errno::EINVAL)?;
        let mut words = [0; 5];
        for (to, from) in words.iter_mut().zip(bytes.chunks_exact(size_of::<u64>())) {
            *to = u64::from_ne_bytes(from.try_into().map_err(|_| Errno::EINVAL)?);
        }
        let record = Self {
            size: words[1],
            position: words[2],
            seals: u32::try_from(words[3]).map_err(|_| Errno::EINVAL)?,
        };
        if record.words() == words {
            Ok(record)
        } else {
            Err(Errno::EINVAL)
        }
    }
}

/// FNV-1a: it finds damage, not forgery.
fn checksum(words: &[u64]) -> u64 {
    let bytes = words.iter().flat_map(|word| word.to_ne_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The handler of one kernel.
#[derive(Default)]
pub(crate) struct Memfds {
    /// Objects whose size must not change: they are preserved.
    fixed: Mutex<BTreeMap<u64, u64>>,
}

impl Memfds {
    fn fixed(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, u64>> {
        self.fixed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a program must not resize a file now.
    pub(crate) fn is_fixed(&self, file: &OwnedFd) -> bool {
        (is_memfd(file) || is_huge(file)) && self.fixed().contains_key(&object_id(file))
    }

    /// The same for an object.
    pub(crate) fn is_fixed_object(&self, object: u64) -> bool {
        self.fixed().contains_key(&object)
    }

    /// Whether any file must not be resized now.
    pub(crate) fn is_any_fixed(&self) -> bool {
        !self.fixed().is_empty()
    }

    pub(crate) fn preserve(&self, memory: &Memory, file: &File) -> Result<(u64, Kept), Errno> {
        let record = Record::of(file)?;
        if !SEALS.contains(SealFlags::from_bits_retain(record.seals)) {
            return Err(Errno::EOPNOTSUPP);
        }
        if record.size.div_ceil(PAGE) > u64::from(u32::MAX) {
            return Err(Errno::EFBIG);
        }
        let mut page = memory.block();
        record.write(page.bytes());
        self.fixed().insert(object_id(file), record.size);
        let address = page.address();
        Ok((address, Kept::new(page, Arc::clone(file))))
    }

    pub(crate) fn unpreserve(&self, file: &File) {
        self.fixed().remove(&object_id(file));
    }

    /// # Errors
    /// EPERM if the file was resized since it was preserved. The kernel would not
    /// have let the program do that.
    pub(crate) fn freeze(&self, file: &File, kept: &mut Kept) -> Result<(), Errno> {
        let record = Record::of(file)?;
        if self.fixed().get(&object_id(file)) != Some(&record.size) {
            return Err(Errno::EPERM);
        }
        record.write(kept.page.bytes());
        Ok(())
    }

    /// # Errors
    /// EINVAL if what the previous kernel left is damaged; it is released then.
    pub(crate) fn retrieve(&self, memory: &Memory, address: u64) -> Result<File, Errno> {
        let page = memory.read(address).map_err(|_| Errno::EINVAL)?;
        let file = memory.take_file(address).ok_or(Errno::EINVAL)?;
        let record = Record::read(&page)?;
        if size(&file)? != record.size {
            return Err(Errno::EINVAL);
        }
        let opened = reopen(&file, Access::Full)?;
        rustix::fs::seek(&opened, SeekFrom::Start(record.position)).map_err(errno)?;
        Ok(opened)
    }

    /// Releases a memfd that nobody has retrieved.
    pub(crate) fn discard(&self, memory: &Memory, address: u64) {
        drop(memory.take_file(address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memfd(length: u64) -> File {
        Arc::new(OwnedFd::from(luo_sys::memfd::create("test", length).unwrap()).into())
    }

    #[test]
    fn a_record_comes_back_or_is_refused() {
        let record = Record {
            size: 4097,
            position: 9,
            seals: 5,
        };
        let mut page = vec![0; 4096];
        record.write(&mut page);
        assert_eq!(Record::read(&page), Ok(record));
        for bit in 0..Record::LENGTH * 8 {
            page[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::read(&page), Err(Errno::EINVAL), "bit {bit}");
            page[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn only_nameless_shared_memory_is_a_memfd() {
        assert!(is_memfd(&memfd(1)));
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(!is_memfd(&null.into()));
        let named = std::fs::File::open("/proc/self/exe").unwrap();
        assert!(!is_memfd(&named.into()));
    }

    #[test]
    fn a_file_that_was_resized_does_not_freeze() {
        let (memory, memfds, file) = (Memory::default(), Memfds::default(), memfd(10));
        let (_, mut kept) = memfds.preserve(&memory, &file).unwrap();
        assert!(memfds.is_fixed(&file));
        assert_eq!(memfds.freeze(&file, &mut kept), Ok(()));
        rustix::fs::ftruncate(&file, 20).unwrap();
        assert_eq!(memfds.freeze(&file, &mut kept), Err(Errno::EPERM));
        memfds.unpreserve(&file);
        assert!(!memfds.is_fixed(&file));
    }

    #[test]
    fn size_position_and_contents_arrive() {
        let (memory, memfds, file) = (Memory::default(), Memfds::default(), memfd(0));
        rustix::io::write(&file, b"hello").unwrap();
        let (address, mut kept) = memfds.preserve(&memory, &file).unwrap();
        rustix::fs::seek(&file, SeekFrom::Start(2)).unwrap();
        memfds.freeze(&file, &mut kept).unwrap();
        memory.prepare_jump(0, 0);
        drop(kept);
        let memory = Memory::new(memory.jump());
        let arrived = memfds.retrieve(&memory, address).unwrap();
        let mut text = [0; 8];
        assert_eq!(rustix::io::read(&arrived, &mut text), Ok(3));
        assert_eq!(&text[..3], b"llo");
        // It is given once.
        assert!(memfds.retrieve(&memory, address).is_err());
    }

    #[test]
    fn memory_that_must_not_be_executed_comes_back_as_it_was() {
        let flags = rustix::fs::MemfdFlags::NOEXEC_SEAL | rustix::fs::MemfdFlags::CLOEXEC;
        let file: File = Arc::new(rustix::fs::memfd_create("x", flags).unwrap().into());
        rustix::io::write(&file, b"hello").unwrap();
        rustix::fs::fcntl_setfl(&file, OFlags::APPEND).unwrap();
        let (memory, memfds) = (Memory::default(), Memfds::default());
        let (address, mut kept) = memfds.preserve(&memory, &file).unwrap();
        memfds.freeze(&file, &mut kept).unwrap();
        memory.prepare_jump(0, 0);
        drop(kept);
        let memory = Memory::new(memory.jump());
        let arrived = memfds.retrieve(&memory, address).unwrap();
        assert_eq!(rustix::fs::fcntl_get_seals(&arrived).unwrap().bits(), 0x20);
        assert_eq!(rustix::io::write(&arrived, b"x"), Ok(1));
        let flags = rustix::fs::fcntl_getfl(&arrived).unwrap();
        assert!(flags.contains(OFlags::APPEND));
    }

    #[test]
    fn access_can_be_narrowed() {
        let file = memfd(3);
        assert_eq!(access(&file), Access::Full);
        let narrow = reopen(&file, Access::ReadOnly).unwrap();
        assert_eq!(access(&narrow), Access::ReadOnly);
        assert_eq!(object_id(&narrow), object_id(&file));
        assert_eq!(bytes(&narrow), 4096);
    }
}
