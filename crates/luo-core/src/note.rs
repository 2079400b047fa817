// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Notes, which small files leave for the next kernel: written as bytes, and read with distrust.
//! The structures are in [`luo_abi::note`].

use core::fmt;
use core::mem::{offset_of, size_of};

use luo_abi::errno::Errno;
use luo_abi::handover::BLOCK_SIZE;
use luo_abi::note::{Eventfd, Head, EVENTFD_MAGIC, NONBLOCK, SEMAPHORE};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::handover::block::HandedMemory;
use crate::handover::PageError;
use crate::table::hash::Digest;

/// The structure of one kind of file.
pub trait Note: FromBytes + IntoBytes + Immutable + Copy {
    /// [`Head::magic`].
    const MAGIC: [u8; 16];

    /// Whether a file can be like that. What it says is untrusted; the checksum is right.
    fn is_sane(&self) -> bool;
}

/// Why a note cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// There is no page where it is said to be.
    Page(PageError),
    /// It is another kind of file's, or none.
    Mark,
    /// Features are required that this kernel does not know, a bit each.
    Unknown(u64),
    /// It has a length that it cannot have.
    Length(u64),
    /// The checksum is wrong.
    Checksum,
    /// No file can be like that.
    Value,
    /// There is no memory to read it with.
    NoMemory,
}

impl Unread {
    /// The error that the caller is told.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::Unknown(_) => Errno::EOPNOTSUPP,
            Self::NoMemory => Errno::ENOMEM,
            _ => Errno::EINVAL,
        }
    }
}

impl From<PageError> for Unread {
    fn from(why: PageError) -> Self {
        Self::Page(why)
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page(PageError::Unaligned) => f.write_str("there is no start of a page"),
            Self::Page(PageError::NotPreserved) => f.write_str("there is no preserved page"),
            Self::Mark => f.write_str("what is there is not of this kind of file"),
            Self::Unknown(features) => write!(
                f,
                "it needs features that this kernel does not know: {features:#x}"
            ),
            Self::Length(length) => write!(f, "it cannot have {length} bytes"),
            Self::Checksum => f.write_str("its checksum is wrong"),
            Self::Value => f.write_str("no file can be as it says"),
            Self::NoMemory => f.write_str("there is no memory to read it with"),
        }
    }
}

/// Writes a note onto a page, which is all zeros or has a note of the same kind.
pub fn write<N: Note>(page: &mut [u8], note: &N) {
    let mut head = Head {
        magic: N::MAGIC,
        required: 0,
        optional: 0,
        length: size_of::<N>() as u64,
        checksum: 0,
    };
    let mut digest = digest_of(&head);
    digest.absorb_bytes(note.as_bytes());
    head.checksum = digest.finish();
    let room = page.get_mut(..size_of::<Head>()).unwrap_or_default();
    luo_abi::bytes::copy(room, head.as_bytes());
    let room = page.get_mut(size_of::<Head>()..).unwrap_or_default();
    luo_abi::bytes::copy(room, note.as_bytes());
}

/// Reads the note on a page.
///
/// # Errors
/// [`Unread`], but for that of the page.
pub fn read<N: Note>(page: &impl HandedMemory) -> Result<N, Unread> {
    let head: Head = structure(page, 0).ok_or(Unread::Mark)?;
    if head.magic != N::MAGIC {
        return Err(Unread::Mark);
    }
    let length = usize::try_from(head.length).unwrap_or(usize::MAX);
    let most = BLOCK_SIZE.saturating_sub(size_of::<Head>());
    if length < size_of::<N>() || length > most || length % 8 != 0 {
        return Err(Unread::Length(head.length));
    }
    // Each byte is looked at once: the structure is that of which the checksum is right.
    let note: N = structure(page, size_of::<Head>()).ok_or(Unread::Mark)?;
    let mut digest = digest_of(&head);
    digest.absorb_bytes(note.as_bytes());
    let mut at = size_of::<N>();
    while at < length {
        let word: u64 =
            structure(page, size_of::<Head>().saturating_add(at)).ok_or(Unread::Mark)?;
        digest.absorb_bytes(word.as_bytes());
        at = at.saturating_add(8);
    }
    if digest.finish() != head.checksum {
        return Err(Unread::Checksum);
    }
    match (head.required, note.is_sane()) {
        (0, true) => Ok(note),
        (0, false) => Err(Unread::Value),
        (features, _) => Err(Unread::Unknown(features)),
    }
}

/// A digest that has absorbed what counts of a head.
fn digest_of(head: &Head) -> Digest {
    let mut digest = Digest::new();
    let counts = head.as_bytes().get(..offset_of!(Head, checksum));
    digest.absorb_bytes(counts.unwrap_or_default());
    digest
}

pub(crate) fn structure<T: FromBytes + IntoBytes>(
    page: &impl HandedMemory,
    offset: usize,
) -> Option<T> {
    let mut found = T::new_zeroed();
    page.copy(offset, found.as_mut_bytes()).then_some(found)
}

impl Note for Eventfd {
    const MAGIC: [u8; 16] = EVENTFD_MAGIC;

    fn is_sane(&self) -> bool {
        // Any count can be there: the kernel itself counts up to the largest.
        self.flags & !(NONBLOCK | SEMAPHORE) == 0
    }
}

mod kvm;
mod timer;

pub use kvm::{calls_of, can_be_repeated, NO_CALL};
pub use timer::resumed;

#[cfg(test)]
mod tests;
