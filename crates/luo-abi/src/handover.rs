// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The handover: the structures that one kernel leaves in memory for the next.
//!
//! Source: `include/linux/kho/abi/luo.h` and `block.h` of Linux 7.3. The
//! addresses are physical; every structure lies in memory that Kexec HandOver
//! preserves. Numbers have the byte order of the machine, which both kernels
//! share.
//!
//! ```text
//! KHO root tree, entry "LUO"
//!   Root { "luo-v5", update number, sessions, flbs }
//!             |                        |       '--> FlbHeader, then FlbRecord[count]   (one page)
//!             |                        v
//!             |                BlockHeader -> BlockHeader -> ...
//!             |                SessionRecord[count]  { name, files, file count }
//!             |                                               |
//!             |                                               v
//!             |                                BlockHeader -> BlockHeader -> ...
//!             |                                FileRecord[count]  { handler, data, token }
//! ```

use core::mem::size_of;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::uapi::SESSION_NAME_LENGTH;

/// The name of the entry in the KHO root tree.
pub const ENTRY_NAME: &str = "LUO";

/// The version this code writes and the only one it reads.
pub const COMPATIBLE: [u8; 8] = *b"luo-v5\0\0";

/// Bytes of a handler's name and of an FLB's name, the terminating zero
/// included.
pub const COMPAT_LENGTH: usize = 48;

/// Bytes of a block: one page of 4 KiB, its header included. KHO hands over
/// between kernels of equal page size only.
pub const BLOCK_SIZE: usize = 4096;

/// The most blocks a chain may have; a longer one is taken for damage.
pub const MAX_BLOCKS: usize = 10_000;

/// The root of all state that is handed over: 32 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Root {
    /// [`COMPATIBLE`].
    pub compatible: [u8; 8],
    /// How many live updates the chain of kernels has made; the first kernel
    /// writes 1.
    pub update_number: u64,
    /// Address of the first block of [`SessionRecord`]s, or 0 for none.
    pub sessions: u64,
    /// Address of the page of FLBs, or 0 for none.
    pub flbs: u64,
}

/// The start of each block: 16 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct BlockHeader {
    /// Address of the next block, or 0 in the last.
    pub next: u64,
    /// Records in this block, at least 1.
    pub count: u64,
}

/// One session: 80 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SessionRecord {
    /// The name, zero-terminated.
    pub name: [u8; SESSION_NAME_LENGTH],
    /// Address of the first block of [`FileRecord`]s, or 0 for none.
    pub files: u64,
    /// Files in the session, over all its blocks.
    pub file_count: u64,
}

/// One preserved file: 64 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct FileRecord {
    /// Name of the handler, zero-terminated.
    pub compatible: [u8; COMPAT_LENGTH],
    /// The handler's own handle; opaque to the orchestrator.
    pub data: u64,
    /// The token its owner gave it.
    pub token: u64,
}

/// The start of the FLB page: 16 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct FlbHeader {
    /// Pages of the area; always 1.
    pub pages: u64,
    /// Records that follow.
    pub count: u64,
}

/// One file-lifecycle-bound global: 64 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct FlbRecord {
    /// Its name, zero-terminated.
    pub name: [u8; COMPAT_LENGTH],
    /// Its owner's handle; opaque to the orchestrator.
    pub data: u64,
    /// Preserved files that depend on it.
    pub count: u64,
}

/// Records of `size` bytes that fit behind a header in one block.
const fn per_block(size: usize) -> usize {
    match BLOCK_SIZE
        .saturating_sub(size_of::<BlockHeader>())
        .checked_div(size)
    {
        Some(count) => count,
        None => 0,
    }
}

/// Session records in a full block.
pub const SESSIONS_PER_BLOCK: usize = per_block(size_of::<SessionRecord>());
/// File records in a full block.
pub const FILES_PER_BLOCK: usize = per_block(size_of::<FileRecord>());
/// The most FLBs that can be handed over.
pub const MAX_FLBS: usize = per_block(size_of::<FlbRecord>());
/// The most sessions that can be handed over.
pub const MAX_SESSIONS: usize = SESSIONS_PER_BLOCK.saturating_mul(MAX_BLOCKS);
/// The most files a session can hand over.
pub const MAX_FILES_PER_SESSION: usize = FILES_PER_BLOCK.saturating_mul(MAX_BLOCKS);

const _: () = {
    assert!(size_of::<Root>() == 32);
    assert!(size_of::<BlockHeader>() == 16);
    assert!(size_of::<SessionRecord>() == 80);
    assert!(size_of::<FileRecord>() == 64);
    assert!(size_of::<FlbHeader>() == 16);
    assert!(size_of::<FlbRecord>() == 64);
    assert!(SESSIONS_PER_BLOCK == 51);
    assert!(FILES_PER_BLOCK == 63);
    assert!(MAX_FLBS == 63);
};

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn fields_lie_where_the_headers_put_them() {
        assert_eq!(offset_of!(Root, update_number), 8);
        assert_eq!(offset_of!(Root, sessions), 16);
        assert_eq!(offset_of!(Root, flbs), 24);
        assert_eq!(offset_of!(SessionRecord, files), 64);
        assert_eq!(offset_of!(SessionRecord, file_count), 72);
        assert_eq!(offset_of!(FileRecord, data), 48);
        assert_eq!(offset_of!(FileRecord, token), 56);
        assert_eq!(offset_of!(FlbRecord, data), 48);
        assert_eq!(offset_of!(FlbRecord, count), 56);
    }

    #[test]
    fn limits_are_those_of_the_format() {
        assert_eq!(MAX_SESSIONS, 510_000);
        assert_eq!(MAX_FILES_PER_SESSION, 630_000);
    }
}
