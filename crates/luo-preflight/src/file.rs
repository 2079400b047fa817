// SPDX-License-Identifier: MIT OR Apache-2.0
//! A descriptor that is to be preserved: whether the kernel can preserve it, and how much
//! memory that takes.
//!
//! Which types of files it preserves is the kernel's to say. Linux 7.3 alone preserves
//! memfds: files of shared memory without a name. What was swapped out of them is read in
//! then, and mainline's handler fills their holes. Huge pages are in their pool already: to
//! preserve a memfd of such takes records only.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use luo_varlink::Check;
use rustix::fs::{FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use crate::check::{Known, bytes, failed, ok, unknown, warning};
use crate::limits::{MAX_EXTENTS, MEMORY_RESERVE};
use crate::memfds::Memfds;
use crate::memory::Memory;
use crate::small::{self, Small};

// From `linux/magic.h`.
const TMPFS_MAGIC: u64 = 0x0102_1994;
const HUGETLBFS_MAGIC: u64 = 0x9584_58f6;
const SECRETMEM_MAGIC: u64 = 0x5345_434d;
const ANON_INODE_MAGIC: u64 = 0x0904_1934;
const PIPEFS_MAGIC: u64 = 0x5049_5045;

/// The bits of such a number: some machines give words that are signed.
const MAGIC_BITS: u64 = 0xffff_ffff;

/// The seals that `memfd-v2` knows: seal, shrink, grow, write, future write, exec.
pub const KNOWN_SEALS: u32 = 0x3f;

/// The mode of a file that mainline's handler makes.
const MAINLINES_MODE: u32 = 0o777;

/// `F_SEAL_WRITE` and `F_SEAL_EXEC`.
const WRITE: u32 = 0x8;
const EXEC: u32 = 0x20;

/// Pages of a file that can be preserved: as many as an unsigned int counts.
const MAX_PAGES: u64 = u32::MAX as u64;

/// Bytes that the kernel allocates for each page while it preserves a file.
const PER_PAGE: u64 = 24;

/// The kind of object that a descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A memfd, or another file of shared memory without a name.
    Memfd,
    /// A file of shared memory that has a name.
    Named,
    /// A memfd of huge pages.
    HugeTlb,
    /// A descriptor of O_PATH, which stands for a name only.
    Path,
    /// A small file of which a handler of this project hands over all.
    Small(&'static Small),
    /// A device, or an object of the kernel, in words. Handlers of such are under way.
    Object(&'static str),
    /// Something else, in words.
    Other(&'static str),
}

/// The facts of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The kind of file.
    pub kind: Kind,
    /// The file itself: its device and its number there.
    pub object: (u64, u64),
    /// Its size in bytes.
    pub size: u64,
    /// Bytes of holes, in whole pages.
    pub holes: u64,
    /// Bytes that are swapped out, in whole pages; `None` if that cannot be told, and something
    /// on the machine is.
    pub swapped: Option<u64>,
    /// Bytes of a page; of one of its huge pages, if it is a memfd of such.
    pub page: u64,
    /// Its seals; 0 if it cannot have any.
    pub seals: u32,
    /// Its permission bits.
    pub mode: u32,
    /// Whether it is open with `O_APPEND` or `O_NONBLOCK`.
    pub has_flags: bool,
}

impl Facts {
    /// The facts of a file of a kind and a size of which there is nothing else to say: all of it is
    /// there and in memory, and its rights are those of a memfd.
    #[must_use]
    pub const fn plain(kind: Kind, size: u64) -> Self {
        Self {
            kind,
            object: (1, size),
            size,
            holes: 0,
            swapped: Some(0),
            page: match kind {
                Kind::HugeTlb => 2 << 20,
                _ => 4096,
            },
            seals: 0,
            mode: 0o777,
            has_flags: false,
        }
    }

    /// Bytes that are allocated when the file is preserved: what is swapped out of it, the
    /// kernel's records of its pages, and its holes, which mainline's handler fills. 0 for a
    /// file that cannot be preserved.
    #[must_use]
    pub const fn to_allocate(&self, memfds: Memfds) -> u64 {
        match self.kind {
            Kind::Memfd => {
                let holes = match self.page {
                    0 => 0,
                    page => self.holes / page,
                };
                let kept = if memfds.here {
                    self.pages().saturating_sub(holes)
                } else {
                    self.pages()
                };
                let records = kept.saturating_mul(PER_PAGE);
                let swapped = match self.swapped {
                    Some(swapped) => swapped,
                    None => 0,
                };
                let holes = if memfds.here { 0 } else { self.holes };
                holes.saturating_add(swapped).saturating_add(records)
            }
            _ => 0,
        }
    }

    /// Bytes that count for the control group of who takes it back: at least, and at most, for
    /// mainline's handler fills holes, and which one the next kernel has may not be known. Huge
    /// pages count elsewhere, and small files for nothing.
    #[must_use]
    pub const fn charged(&self, memfds: Memfds) -> (u64, u64) {
        let whole = match self.kind {
            Kind::Memfd => self.pages().saturating_mul(self.page),
            _ => 0,
        };
        let used = whole.saturating_sub(self.holes);
        match memfds.exactly() {
            Some(true) => (used, used),
            Some(false) => (whole, whole),
            None => (used, whole),
        }
    }

    /// Bytes of huge pages that it has; they count for the pool of such of a control group.
    #[must_use]
    pub const fn huge(&self) -> u64 {
        match self.kind {
            Kind::HugeTlb => {
                let whole = self.pages().saturating_mul(self.page);
                whole.saturating_sub(self.holes)
            }
            _ => 0,
        }
    }

    const fn pages(&self) -> u64 {
        match self.page {
            0 => 0,
            page => self.size.div_ceil(page),
        }
    }
}

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
        let is_nameless = matches!(magic & MAGIC_BITS, ANON_INODE_MAGIC | PIPEFS_MAGIC);
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

/// Checks a file by itself: `file-kind`, `file-size`, `file-seals`, `file-memory`.
///
/// `name` says in words which file it is, for example `token 0x7 of session "vm"`.
/// `handlers` are the formats of the handlers that the kernel has; `None` if it does not
/// say. `memfds` says what the handlers of memfds are.
#[must_use]
pub fn checks(
    name: &str,
    facts: &Facts,
    memory: &Known<Memory>,
    handlers: Option<&[String]>,
    memfds: Memfds,
) -> Vec<Check> {
    let mut checks = vec![kind_check(name, facts.kind, handlers)];
    if facts.kind != Kind::Memfd {
        return checks;
    }
    if facts.pages() > MAX_PAGES {
        let found = format!(
            "{name} has {}: the kernel refuses it (EFBIG)",
            bytes(facts.size)
        );
        checks.push(failed("file-size", found, "split it into several memfds"));
    }
    let strange = facts.seals & !KNOWN_SEALS;
    if strange != 0 {
        let found = format!(
            "{name} has seals that memfd-v2 does not know ({strange:#x}): the kernel refuses it \
             (EOPNOTSUPP)"
        );
        checks.push(failed("file-seals", found, "do not set these seals"));
    }
    checks.extend(seal_check(name, facts, memfds));
    checks.extend(loss_check(name, facts, memfds));
    checks.push(memory_check(name, facts, memory, memfds));
    checks
}

/// A file that must not be executed and can be written: mainline's handler makes a file that
/// can be executed and seals it, and so forbids to write to it.
fn seal_check(name: &str, facts: &Facts, memfds: Memfds) -> Option<Check> {
    const NAME: &str = "file-seals";
    const REMEDY: &str = "create it with MFD_EXEC, or jump into a kernel with luo-memfd-v1";
    if facts.seals & EXEC == 0 || facts.seals & WRITE != 0 {
        return None;
    }
    let found =
        format!("{name} must not be executed (F_SEAL_EXEC, by MFD_NOEXEC_SEAL or vm.memfd_noexec)");
    let sealed = "gives it back sealed against writing and resizing";
    match memfds.exactly() {
        Some(true) => None,
        Some(false) => Some(failed(
            NAME,
            format!("{found}: mainline's handler {sealed}"),
            REMEDY,
        )),
        None => Some(warning(
            NAME,
            format!("{found}: a kernel with mainline's handler {sealed}"),
            REMEDY,
        )),
    }
}

/// What else mainline's handler does not know of a file.
fn loss_check(name: &str, facts: &Facts, memfds: Memfds) -> Option<Check> {
    if memfds.exactly() != Some(false) {
        return None;
    }
    let mut lost = Vec::new();
    // Of one that must not be executed more is said.
    if facts.mode != MAINLINES_MODE && facts.seals & EXEC == 0 {
        lost.push(format!("its mode {:#o}, which becomes 0o777", facts.mode));
    }
    if facts.has_flags {
        lost.push("O_APPEND or O_NONBLOCK".to_owned());
    }
    (!lost.is_empty()).then(|| {
        warning(
            "file-facts",
            format!(
                "{name} loses {} with mainline's handler",
                lost.join(" and ")
            ),
            "set it again in the next program, or jump into a kernel with luo-memfd-v1",
        )
    })
}

/// Whether the kernel preserves a kind of file, by the handlers that it has.
#[must_use]
pub fn kind_check(name: &str, kind: Kind, handlers: Option<&[String]>) -> Check {
    const NAME: &str = "file-kind";
    let is_memfds = |handler: &String| {
        let family = crate::image::family_of(handler);
        matches!(family, Some("memfd" | "luo-memfd"))
    };
    let list = handlers.map(|all| all.join(", ")).unwrap_or_default();
    let has_memfds = handlers.is_none_or(|all| all.iter().any(is_memfds));
    let is_small = |handler: &String| {
        let family = crate::image::family_of(handler);
        family.is_some_and(|family| small::families().any(|known| known == family))
    };
    let is_known = |handler: &String| is_memfds(handler) || is_small(handler);
    let has_others = handlers.is_some_and(|all| !all.iter().all(is_known));
    let (what, remedy) = match kind {
        Kind::Memfd if has_memfds => return ok(NAME, format!("{name} is a memfd")),
        Kind::Memfd => {
            let found = format!("{name} is a memfd, and the kernel has no handler for it");
            return failed(NAME, found, "build it with CONFIG_LIVEUPDATE_MEMFD=y");
        }
        Kind::Path => {
            let found = format!("{name} was opened with O_PATH: the kernel refuses it (EBADF)");
            return failed(NAME, found, "open the file itself");
        }
        Kind::Small(small) => return small.check(name, handlers),
        Kind::HugeTlb if small::HUGE.is_in(handlers) => return small::HUGE.check(name, handlers),
        Kind::HugeTlb => (small::HUGE.what, small::HUGE.remedy),
        Kind::Named => (
            "a file of shared memory with a name",
            "use memfd_create, or unlink it",
        ),
        Kind::Object(what) | Kind::Other(what) => (
            what,
            "preserve what the kernel has a handler for (docs/handlers.md); write into a memfd what \
             the next program needs to make the rest anew",
        ),
    };
    let found = format!("{name} is {what}");
    match handlers {
        Some(_) if has_others => unknown(
            NAME,
            format!(
                "{found}; the kernel has handlers of {list}, and whether one takes it shows when it is preserved"
            ),
            remedy,
        ),
        Some([]) => failed(
            NAME,
            format!("{found}: the kernel has no handlers, and refuses it (ENOENT)"),
            remedy,
        ),
        Some(_) => failed(
            NAME,
            format!("{found}: the kernel has a handler of {list} only, and refuses it (ENOENT)"),
            remedy,
        ),
        None if matches!(kind, Kind::Object(_)) => unknown(
            NAME,
            format!(
                "{found}; which handlers it has mainline's orchestrator does not say. That of Linux 7.3 has one for memfds only"
            ),
            remedy,
        ),
        None => failed(
            NAME,
            format!("{found}: the kernel refuses it (ENOENT)"),
            remedy,
        ),
    }
}

fn memory_check(name: &str, facts: &Facts, memory: &Known<Memory>, memfds: Memfds) -> Check {
    const NAME: &str = "file-memory";
    const REMEDY: &str = "make it smaller, or free memory: what is swapped out is read in when it \
                          is preserved, and mainline's handler fills holes";
    let takes = facts.to_allocate(memfds);
    let used = facts.size.saturating_sub(facts.holes);
    let swapped = match facts.swapped {
        Some(0) => String::new(),
        Some(swapped) => format!(", {} swapped out", bytes(swapped)),
        None => format!(", and up to {} may be swapped out", bytes(used)),
    };
    let found = format!(
        "preserving {name} ({}, of which {} are holes{swapped}) allocates {}",
        bytes(facts.size),
        bytes(facts.holes),
        bytes(takes),
    );
    let has_filled_holes = facts.holes > 0 && !memfds.here;
    let is_filled = has_filled_holes || facts.swapped.is_some_and(|swapped| swapped > 0);
    match memory {
        Ok(memory) if takes.saturating_add(MEMORY_RESERVE) > memory.available => failed(
            NAME,
            format!("{found}; {} are available", bytes(memory.available)),
            REMEDY,
        ),
        Err(why) if is_filled => unknown(
            NAME,
            format!("{found}; it is not known how much is available: {why}"),
            REMEDY,
        ),
        _ if facts.swapped.is_none() && used > 0 => unknown(
            NAME,
            format!("{found}, and what is swapped out: that the kernel does not tell"),
            "run Linux 6.5 or newer, and let luod ask it (cachestat in SystemCallFilter= of its \
             unit); or run without swap",
        ),
        _ if has_filled_holes => warning(NAME, found, "fill it yourself to know it in advance"),
        _ if is_filled => warning(NAME, found, "have it read in before, or run without swap"),
        _ => ok(NAME, found),
    }
}

/// Sums up what files allocate together, and checks that no two of them stand for the same
/// object: `file-object`. The files have names for messages.
#[must_use]
pub fn together(files: &[(String, Facts)], memfds: Memfds) -> (u64, Vec<Check>) {
    let mut seen = BTreeMap::new();
    let mut total: u64 = 0;
    let mut checks = Vec::new();
    // Of small files the kernel tells apart which are the same, and their numbers do not.
    let has_number = |facts: &Facts| !matches!(facts.kind, Kind::Small(_));
    for (name, facts) in files.iter().filter(|(_, facts)| has_number(facts)) {
        match seen.insert(facts.object, name) {
            Some(other) => checks.push(failed(
                "file-object",
                format!(
                    "{name} and {other} are the same file: the kernel refuses the second (EBUSY)"
                ),
                "preserve it once",
            )),
            None => total = total.saturating_add(facts.to_allocate(memfds)),
        }
    }
    (total, checks)
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
