// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The supplement, which travels beside `luo-v5`: dependencies, subsystems, and the facts of a
//! file that only this orchestrator knows.
//!
//! An entry of its own in the KHO root tree, which mainline's orchestrator
//! ignores. It is versioned, bounded and checksummed; its digests cover the
//! `luo-v5` records too, so that between two kernels with this orchestrator
//! damage is recognised even where it is well-formed.
//!
//! The project calls it the supplement; the contract is the ioctls ([`crate::contract`]).
//! The names on the wire, `LUO-CONTRACT` and `luo-contract-v1`, stay as they are, because
//! kernels that are out read them.
//!
//! ```text
//! KHO root tree, entry "LUO-CONTRACT"
//!   Root { "luo-contract-v1", counts, digests, checksum, subsystems, records }
//!            SubsystemRecord[count] (one page)  <------'          v
//!                                          BlockHeader -> BlockHeader -> ...
//!                                          FileFacts | EdgeRecord | SessionFacts | LostFile
//! ```
//!
//! Behind the root, in its page, stands [`Losses`]: what the reboot could not hand over,
//! in numbers. All zero, which is what a kernel without it leaves, is nothing.
//!
//! The version says what has to be understood. A kind of record that a kernel does not
//! know refuses the handover, by its number: a guess could give somebody too much, or in
//! the wrong order. [`KIND_LOST`] is there only if something was lost.
//!
//! All digests are SipHash-1-3 with 64 bits of output under the key 0, over
//! little-endian words: they find damage, not forgery. Whoever can write to
//! handed-over memory owns the machine.

use core::mem::size_of;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::handover::{BlockHeader, BLOCK_SIZE, COMPAT_LENGTH};

/// The name of the entry in the KHO root tree.
pub const ENTRY_NAME: &str = "LUO-CONTRACT";

/// The version this code writes and the only one it reads.
pub const COMPATIBLE: [u8; 16] = *b"luo-contract-v1\0";

/// [`Root::flags`]: the machine was frozen by the event, not by a reboot that
/// found nothing to do: the next kernel is UPDATED even if nothing else says so.
pub const BY_EVENT: u64 = 1;

/// The root: 88 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Root {
    /// [`COMPATIBLE`].
    pub compatible: [u8; 16],
    /// The update number of the `luo-v5` root that this goes with.
    pub update_number: u64,
    /// [`BY_EVENT`] or 0.
    pub flags: u64,
    /// Address of the page of [`SubsystemRecord`]s, or 0 for none.
    pub subsystems: u64,
    /// How many there are.
    pub subsystem_count: u64,
    /// Address of the first block of records, or 0 for none.
    pub records: u64,
    /// How many there are, over all blocks.
    pub record_count: u64,
    /// Over the `luo-v5` FLB records and the subsystem records, in order: what is
    /// read at boot.
    pub early_digest: u64,
    /// Over the `luo-v5` session records, each followed by its file records, then
    /// the records, in order; addresses count as 0.
    pub digest: u64,
    /// Over all fields before this one.
    pub checksum: u64,
}

/// Bytes of the root, and of what stands behind it.
pub const ROOT_LENGTH: usize = size_of::<Root>().saturating_add(size_of::<Losses>());

/// [`Losses::flags`]: there were sessions that could not be read, and so are lost.
pub const LOST_UNREAD: u64 = 1;

/// The losses, which could not be handed over: 40 bytes behind the root, all zero for none.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Losses {
    /// Files, those of whole sessions not counted.
    pub files: u64,
    /// Sessions.
    pub sessions: u64,
    /// Subsystems.
    pub subsystems: u64,
    /// [`LOST_UNREAD`] or 0.
    pub flags: u64,
    /// Over all fields before this one.
    pub checksum: u64,
}

/// [`FileFacts::kind`].
pub const KIND_FILE: u32 = 1;
/// [`EdgeRecord::kind`].
pub const KIND_EDGE: u32 = 2;
/// [`SessionFacts::kind`].
pub const KIND_SESSION: u32 = 3;

/// [`LostFile::kind`].
pub const KIND_LOST: u32 = 4;

/// The facts of a file beside its `luo-v5` record: 64 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct FileFacts {
    /// [`KIND_FILE`].
    pub kind: u32,
    /// Its session: the position of the session's record.
    pub session: u32,
    /// Its token.
    pub token: u64,
    /// Bytes of memory it keeps.
    pub bytes: u64,
    /// The access it gives: 0 read and write, 1 read only, 2 write only.
    pub access: u32,
    /// Zero.
    pub reserved: [u8; 36],
}

/// One file needs another: 64 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct EdgeRecord {
    /// [`KIND_EDGE`].
    pub kind: u32,
    /// The session of the file that needs the other.
    pub session: u32,
    /// Its token.
    pub token: u64,
    /// The session of the file that is needed.
    pub on_session: u32,
    /// Zero.
    pub reserved: u32,
    /// Its token.
    pub on_token: u64,
    /// Zero.
    pub reserved2: [u8; 32],
}

/// [`SessionFacts::flags`]: it is that of an open instance of the device.
pub const SESSION_OF_DEVICE: u32 = 1;
/// [`SessionFacts::flags`]: its owner has closed it; it is there because files of
/// others need its files, and is finished as soon as those are.
pub const SESSION_CLOSED: u32 = 2;

/// [`SessionFacts::flags`]: it is that of a user without privileges, whose number is in
/// [`SessionFacts::user`]; the session's name begins with `uid:`, the number and a colon.
pub const SESSION_OF_USER: u32 = 4;
/// [`SessionFacts::flags`]: it came from an orchestrator that does not record owners, and is
/// nobody's. Of three, one at most is set: this, [`SESSION_OF_USER`], [`SESSION_OF_DEVICE`].
pub const SESSION_OF_NOBODY: u32 = 8;

/// The facts of a session beside its `luo-v5` record: 64 bytes. Only sessions with a flag have
/// one. Kernels from before owners were recorded refuse a flag that they do not know.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SessionFacts {
    /// [`KIND_SESSION`].
    pub kind: u32,
    /// The session: the position of its record.
    pub session: u32,
    /// `SESSION_*`.
    pub flags: u32,
    /// The user, for [`SESSION_OF_USER`]; else zero.
    pub user: u32,
    /// Zero.
    pub reserved: [u8; 48],
}

/// A file that could not be handed over: 64 bytes. `luo-v5` does not know it.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct LostFile {
    /// [`KIND_LOST`].
    pub kind: u32,
    /// Its session: the position of the session's record.
    pub session: u32,
    /// Its token.
    pub token: u64,
    /// The error number that says why, positive.
    pub error: u32,
    /// Zero.
    pub reserved: [u8; 44],
}

/// One subsystem: 56 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SubsystemRecord {
    /// Its name, zero-terminated.
    pub name: [u8; COMPAT_LENGTH],
    /// The value that it leaves for itself; opaque to the orchestrator.
    pub data: u64,
}

/// Bytes of each record of a file, an edge or a session.
pub const RECORD_SIZE: usize = 64;
/// Records in a full block.
pub const RECORDS_PER_BLOCK: usize = match BLOCK_SIZE
    .saturating_sub(size_of::<BlockHeader>())
    .checked_div(RECORD_SIZE)
{
    Some(count) => count,
    None => 0,
};
/// The most blocks of records; a longer chain is taken for damage.
pub const MAX_RECORD_BLOCKS: usize = 100_000;
/// The most records that can be handed over.
pub const MAX_RECORDS: usize = RECORDS_PER_BLOCK.saturating_mul(MAX_RECORD_BLOCKS);
/// The most subsystems.
pub const MAX_SUBSYSTEMS: usize = 63;

const _: () = {
    assert!(size_of::<Root>() == 88);
    assert!(size_of::<FileFacts>() == RECORD_SIZE);
    assert!(size_of::<EdgeRecord>() == RECORD_SIZE);
    assert!(size_of::<SessionFacts>() == RECORD_SIZE);
    assert!(size_of::<LostFile>() == RECORD_SIZE);
    assert!(ROOT_LENGTH == 128);
    assert!(size_of::<SubsystemRecord>() == 56);
    assert!(MAX_SUBSYSTEMS * size_of::<SubsystemRecord>() <= BLOCK_SIZE);
    assert!(RECORDS_PER_BLOCK == 63);
};

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn fields_lie_where_the_format_puts_them() {
        assert_eq!(offset_of!(Root, update_number), 16);
        assert_eq!(offset_of!(Root, subsystems), 32);
        assert_eq!(offset_of!(Root, records), 48);
        assert_eq!(offset_of!(Root, checksum), 80);
        assert_eq!(offset_of!(FileFacts, bytes), 16);
        assert_eq!(offset_of!(FileFacts, access), 24);
        assert_eq!(offset_of!(EdgeRecord, on_session), 16);
        assert_eq!(offset_of!(EdgeRecord, on_token), 24);
        assert_eq!(offset_of!(SubsystemRecord, data), 48);
        assert_eq!(MAX_RECORDS, 6_300_000);
    }
}
