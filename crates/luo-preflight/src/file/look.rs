// SPDX-License-Identifier: MIT OR Apache-2.0
//! A look at a descriptor, which it does not touch.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::facts::{Facts, Kind};
use crate::limits::MAX_EXTENTS;
use crate::small;

// From `linux/magic.h`.
const TMPFS_MAGIC: u64 = 0x0102_1994;
const HUGETLBFS_MAGIC: u64 = 0x9584_58f6;
const SECRETMEM_MAGIC: u64 = 0x5345_434d;
const ANON_INODE_MAGIC: u64 = 0x0904_1934;
const PIPEFS_MAGIC: u64 = 0x5049_5045;
const GUEST_MEMFD_MAGIC: u64 = 0x474d_454d;

/// The bits of such a number: some machines give words that are signed.
const MAGIC_BITS: u64 = 0xffff_ffff;

/// Looks at a descriptor. Neither the file nor its position is touched.
///
/// # Errors
/// EBADF, and what fstat and fstatfs fail with.
pub fn look(fd: impl AsFd) -> Result<Facts, Errno> {
    let fd = fd.as_fd();
    let stat = rustix::fs::fstat(fd)?;
    let flags = rustix::fs::fcntl_getfl(fd)?;
    let kind = if flags.contains(OFlags::PATH) {
        Kind::Path
    } else {
        let magic = rustix::fs::fstatfs(fd)?.f_type as u64;
        let file_type = FileType::from_raw_mode(stat.st_mode);
        let is_nameless = matches!(
            magic & MAGIC_BITS,
            ANON_INODE_MAGIC | PIPEFS_MAGIC | GUEST_MEMFD_MAGIC
        );
        let small = small::of(fd).filter(|_| is_nameless);
        small.map_or_else(|| kind(magic, file_type, stat.st_nlink as u64), Kind::Small)
    };
    let page = match kind {
        Kind::HugeTlb => stat.st_blksize as u64,
        _ => rustix::param::page_size() as u64,
    };
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let allocated = u64::try_from(stat.st_blocks).unwrap_or(0);
    let allocated = allocated.saturating_mul(512);
    let swapped = match kind {
        Kind::Memfd => luo_sys::cached::pages(fd).ok(),
        _ => None,
    };
    let swapped = swapped.map(|pages| pages.evicted.saturating_mul(page));
    // A kernel before 6.5, or a filter of calls, keeps it from being asked.
    let swapped = swapped.or_else(|| nothing_is_swapped_out().then_some(0));
    let whole = size.checked_next_multiple_of(page).unwrap_or(size);
    let (holes, seals) = match kind {
        // Each block counts its huge page whole.
        Kind::HugeTlb => (whole.saturating_sub(allocated), 0),
        Kind::Memfd => {
            let holes = reopen(fd).and_then(|own| holes(&own, size, page));
            (
                holes.unwrap_or_else(|| whole.saturating_sub(allocated)),
                rustix::fs::fcntl_get_seals(fd).map_or(0, |seals| seals.bits()),
            )
        }
        _ => (0, 0),
    };
    Ok(Facts {
        kind,
        object: (stat.st_dev as u64, stat.st_ino as u64),
        size,
        holes,
        swapped,
        page,
        seals,
        mode: stat.st_mode & 0o7777,
        has_flags: flags.intersects(OFlags::APPEND | OFlags::NONBLOCK),
    })
}

/// Whether the machine has swapped out nothing at all.
fn nothing_is_swapped_out() -> bool {
    let text = std::fs::read_to_string("/proc/meminfo");
    text.is_ok_and(|text| swap_in_use(&text) == Some(0))
}

/// KiB of swap that are in use.
fn swap_in_use(text: &str) -> Option<u64> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    field("SwapTotal:")?.checked_sub(field("SwapFree:")?)
}

/// The kind of a file, by its file system's magic number, its type and its links.
#[must_use]
pub fn kind(magic: u64, file_type: FileType, links: u64) -> Kind {
    match (file_type, magic & MAGIC_BITS) {
        (FileType::RegularFile, HUGETLBFS_MAGIC) if links == 0 => Kind::HugeTlb,
        (FileType::RegularFile, HUGETLBFS_MAGIC) => Kind::Other("a file of huge pages with a name"),
        (FileType::RegularFile, TMPFS_MAGIC) if links == 0 => Kind::Memfd,
        (FileType::RegularFile, TMPFS_MAGIC) => Kind::Named,
        (_, SECRETMEM_MAGIC) => Kind::Other("secret memory"),
        (_, ANON_INODE_MAGIC) => Kind::Object("an object of the kernel without a file"),
        (FileType::RegularFile, _) => Kind::Other("a file on a file system"),
        (FileType::Directory, _) => Kind::Other("a folder"),
        (FileType::Fifo, _) => Kind::Other("a pipe with a name"),
        (FileType::Socket, _) => Kind::Other("a socket"),
        (FileType::CharacterDevice, _) => Kind::Object("a character device"),
        (FileType::BlockDevice, _) => Kind::Other("a block device"),
        _ => Kind::Object("an object of the kernel"),
    }
}

/// Opens a file anew: seeking in the descriptor itself would move its owner's position.
fn reopen(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    let path = format!("/proc/thread-self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

/// Bytes of holes up to `size`, in whole pages. None if that cannot be told, or takes
/// more than [`MAX_EXTENTS`] steps.
fn holes(fd: &OwnedFd, size: u64, page: u64) -> Option<u64> {
    let end = size.checked_next_multiple_of(page)?;
    let mut holes: u64 = 0;
    let mut at = 0;
    for _ in 0..MAX_EXTENTS {
        if at >= size {
            return Some(holes);
        }
        let data = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
            Ok(data) => data,
            // From here on there is no data.
            Err(Errno::NXIO) => end,
            Err(_) => return None,
        };
        holes = holes.checked_add(data.checked_sub(at)?)?;
        if data >= size {
            return Some(holes);
        }
        at = match rustix::fs::seek(fd, SeekFrom::Hole(data)) {
            // The end of the file counts as a hole. It may be in the middle of a page.
            Ok(hole) => hole.checked_next_multiple_of(page)?,
            // The file has become shorter.
            Err(_) => return None,
        };
        if at <= data {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_that_is_in_use_is_read() {
        assert_eq!(swap_in_use("SwapTotal: 8 kB\nSwapFree:  3 kB\n"), Some(5));
        assert_eq!(swap_in_use("SwapTotal: 0 kB\nSwapFree: 0 kB\n"), Some(0));
        assert_eq!(swap_in_use("SwapTotal: 8 kB\n"), None);
    }
}
