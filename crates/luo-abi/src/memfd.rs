// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Memfds as their handler leaves them in memory for the next kernel: the structures of
//! mainline's `memfd-v2`, and ours of `luo-memfd-v1` and `luo-hugetlb-v1`. `luo-memfd` writes and
//! reads them.

use core::mem::size_of;

use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The fields of mainline's `struct memfd_luo_ser`: 48 bytes, at the start of the head.
///
/// Source: `include/linux/kho/abi/memfd.h`.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Main {
    /// The position of the open file, in bytes.
    pub position: u64,
    /// Bytes of the file.
    pub size: u64,
    /// `F_SEAL_*`.
    pub seals: u32,
    /// The order of each page of a file of huge pages ([`REQUIRED_HUGE`]); else zero.
    pub flags: u32,
    /// How many records the lists have, over all pages.
    pub count: u64,
    /// Physical address of the first page of the lists, 0 for none. For
    /// `memfd-v2` that is a [`ChunkHeader`], else a [`ListHeader`].
    pub first: u64,
    /// Pages that hold records.
    pub pages: u32,
    /// How mainline made the area: [`AREA_ALLOC`], or 0 without lists.
    pub area_flags: u16,
    /// The order of each page of the lists: 0.
    pub order: u16,
}

/// [`Main::area_flags`]: the area is one of `vmalloc()`.
pub const AREA_ALLOC: u16 = 1;

/// Where [`Facts`] stand in the head, in bytes.
pub const FACTS_OFFSET: usize = 256;

/// [`Facts::magic`].
pub const FACTS_MAGIC: [u8; 16] = *b"luo-memfd-facts\0";

/// The longest name, in bytes: what `memfd_create()` takes, with `memfd:` before it.
pub const NAME_LENGTH: usize = 256;
/// The longest path of a control group that is handed over, in bytes.
pub const GROUP_LENGTH: usize = 512;

/// Facts of a file that mainline's handler does not know: 128 bytes, and two strings behind them.
#[repr(C, packed)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Facts {
    /// [`FACTS_MAGIC`].
    pub magic: [u8; 16],
    /// Features that a reader has to know, a bit each: [`REQUIRED_HUGE`].
    pub required: u64,
    /// Features that a reader may pass over.
    pub optional: u64,
    /// Flags of the open file: `O_APPEND` and others that `luo_memfd::More` names.
    pub flags: u32,
    /// Permission bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Access, modification, change, birth: seconds and nanoseconds of each.
    pub times: [[u64; 2]; 4],
    /// Bytes of the name.
    pub name_length: u32,
    /// Bytes of the control group's path; 0 if it is not known.
    pub group_length: u32,
    /// Over [`Main`], all fields before this one, and the strings in whole words, the rest of
    /// the last of which is zero.
    pub checksum: u64,
}

/// The handler of memfds of huge pages.
pub const HUGE: &str = "luo-hugetlb-v1";

/// [`Facts::required`]: the file is of huge pages, which come back as such or not at all. All
/// files of `luo-hugetlb-v1` have it, and no other.
pub const REQUIRED_HUGE: u64 = 1;

/// Where the name stands in the head, in bytes: what `/proc` shows of the file, without the
/// slash.
pub const NAME_OFFSET: usize = FACTS_OFFSET.saturating_add(size_of::<Facts>());

/// Where the path of the control group stands that the memory is charged to.
pub const GROUP_OFFSET: usize = NAME_OFFSET.saturating_add(NAME_LENGTH);

/// A page of addresses of pages, as `kho_preserve_vmalloc()` makes them.
#[repr(C, packed)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ChunkHeader {
    /// Physical address of the next, 0 in the last.
    pub next: u64,
}

/// Addresses on such a page; the first 0 ends them.
pub const CHUNK_ADDRESSES: usize = 511;

/// Mainline's record of a folio: 16 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct FolioRecord {
    /// The number of its first page frame in the low 52 bits, [`FOLIO_DIRTY`] and
    /// [`FOLIO_UPTODATE`] above.
    pub frame: u64,
    /// Its place in the file, in pages.
    pub index: u64,
}

/// [`FolioRecord::frame`]: the bits of the number.
pub const FOLIO_FRAME: u64 = (1 << 52) - 1;
/// [`FolioRecord::frame`]: somebody has written to it.
pub const FOLIO_DIRTY: u64 = 1 << 52;
/// [`FolioRecord::frame`]: its bytes count. Without it they are to be read as zeros.
pub const FOLIO_UPTODATE: u64 = 1 << 53;

/// Mainline's records on a page.
pub const FOLIOS_PER_PAGE: usize = 256;

/// The start of each page of runs: 32 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ListHeader {
    /// Physical address of the next page, 0 in the last.
    pub next: u64,
    /// Records on this page, at least 1.
    pub count: u64,
    /// Zero.
    pub reserved: u64,
    /// Over `next`, `count` and the records.
    pub checksum: u64,
}

/// A run: 24 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct RunRecord {
    /// Its place in the file, in pages.
    pub index: u64,
    /// The number of its first page frame.
    pub frame: u64,
    /// Pages, at least 1.
    pub pages: u32,
    /// The order of each folio that it consists of.
    pub order: u16,
    /// [`RUN_FRESH`] or 0.
    pub flags: u16,
}

/// [`RunRecord::flags`]: memory that nobody has written to. It is to be read as zeros.
pub const RUN_FRESH: u16 = 1;

/// Runs on a page.
pub const RUNS_PER_PAGE: usize = 169;

/// The entry in the tree of Kexec HandOver of the page that says how many huge pages there are
/// in files, which the next kernel reads before it fills its pools: a [`PoolsHeader`], and a
/// [`PoolRecord`] for each size and node.
pub const POOLS_ENTRY: &str = "LUO-HUGETLB";

/// [`PoolsHeader::magic`].
pub const POOLS_MAGIC: [u8; 16] = *b"luo-huge-pages-1";

/// The start of that page: 32 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PoolsHeader {
    /// [`POOLS_MAGIC`].
    pub magic: [u8; 16],
    /// Records, at most [`POOLS_PER_PAGE`].
    pub count: u64,
    /// Over `magic`, `count` and the records.
    pub checksum: u64,
}

/// Huge pages of one size on one node: 16 bytes.
#[repr(C, packed)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct PoolRecord {
    /// The order of each.
    pub order: u32,
    /// The number of the node.
    pub node: u32,
    /// How many there are.
    pub pages: u64,
}

/// Records on the page.
pub const POOLS_PER_PAGE: usize = 254;

const _: () = {
    use crate::handover::BLOCK_SIZE;
    use core::mem::size_of;
    assert!(size_of::<PoolsHeader>() + size_of::<PoolRecord>() * POOLS_PER_PAGE == BLOCK_SIZE);
    assert!(size_of::<Main>() == 48);
    assert!(size_of::<FolioRecord>() * FOLIOS_PER_PAGE == BLOCK_SIZE);
    assert!(size_of::<ChunkHeader>() + 8 * CHUNK_ADDRESSES == BLOCK_SIZE);
    assert!(size_of::<ListHeader>() + size_of::<RunRecord>() * RUNS_PER_PAGE <= BLOCK_SIZE);
    assert!(size_of::<Facts>() % 8 == 0 && size_of::<Main>() % 8 == 0);
    assert!(size_of::<Facts>() == 128);
    assert!(GROUP_OFFSET + GROUP_LENGTH <= BLOCK_SIZE);
};
