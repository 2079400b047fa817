// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The contents of a pipe, on pages: written, and read with distrust.

use core::mem::{offset_of, size_of};

use luo_abi::bytes::copy;
use luo_abi::errno::Errno;
use luo_abi::handover::BLOCK_SIZE;
use luo_abi::note::{Held, Piece, Pipe, PIECE_GOES_ON, PIECE_OF_PACKET};
use zerocopy::IntoBytes;

use crate::handover::block::{BlockMemory, HandedMemory};
use crate::handover::PageError;
use crate::mem::Vec;
use crate::note::{structure, Unread};
use crate::room::with_any_room;
use crate::table::hash::Digest;

/// Bytes of records that a page has room for.
const ROOM: usize = BLOCK_SIZE.saturating_sub(size_of::<Held>());

/// A pipe that holds nothing.
pub(super) const EMPTY: Pipe = Pipe {
    flags: 0,
    slots: 0,
    bytes: 0,
    records: 0,
    pages: 0,
    first: 0,
};

/// Pages that what a pipe of a size holds takes at most.
///
/// A buffer of a pipe is a page at most, in three pieces at most: each costs a head, and what is
/// filled up. So some 50 of them take a page more than they are.
pub(super) const fn most_pages(slots: u64) -> u64 {
    let most = slots.saturating_add(slots / 32).saturating_add(2);
    let twice = slots.saturating_mul(2);
    if most < twice {
        most
    } else {
        twice
    }
}

/// The contents of a pipe, for the next kernel. Nothing in here asks for memory but
/// [`Self::make_room`]: it is written while the pipe is locked.
pub struct Contents<B> {
    pages: Vec<B>,
    /// How much is on each page: records, and their bytes. As many as there are pages.
    used: Vec<(u64, usize)>,
    /// Pages that what was added takes, whether they are there or not.
    begun: usize,
    /// Bytes of records on the last of those.
    fill: usize,
    bytes: u64,
    /// Buffers of a pipe that what was added takes when it is put into one, record by record.
    buffers: u64,
    /// Bytes in the last of those, if what comes next may join them.
    joins: Option<usize>,
}

impl<B: BlockMemory> Contents<B> {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pages: Vec::new(),
            used: Vec::new(),
            begun: 0,
            fill: 0,
            bytes: 0,
            buffers: 0,
            joins: None,
        }
    }

    /// Begins anew; the pages stay.
    pub fn begin(&mut self) {
        for used in &mut *self.used {
            *used = (0, 0);
        }
        (self.begun, self.fill, self.bytes) = (0, 0, 0);
        (self.buffers, self.joins) = (0, None);
    }

    /// Pages that what was added takes.
    #[must_use]
    pub const fn wanted(&self) -> usize {
        self.begun
    }

    /// Bytes that were added.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Buffers of a pipe that what was added takes when it comes back.
    #[must_use]
    pub const fn buffers(&self) -> u64 {
        self.buffers
    }

    /// A packet or a record of a stream comes back: a packet has a buffer of its own, and a part
    /// of a stream joins the one before if there is room for all of it.
    fn count_buffer(&mut self, bytes: usize, is_packet: bool) {
        let joined = self.joins.map(|last| last.saturating_add(bytes));
        self.joins = match joined.filter(|&joined| joined <= BLOCK_SIZE && !is_packet) {
            Some(joined) => Some(joined),
            None => {
                self.buffers = self.buffers.saturating_add(1);
                (!is_packet).then_some(bytes)
            }
        };
    }

    /// Whether all that was added is there. If not, it has to be added once more, with room
    /// for it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.begun <= self.pages.len()
    }

    /// Makes room for so many pages altogether. The caller has no lock.
    ///
    /// # Errors
    /// ENOMEM, and those of `alloc`.
    pub fn make_room(
        &mut self,
        pages: usize,
        mut alloc: impl FnMut() -> Result<B, Errno>,
    ) -> Result<(), Errno> {
        let more = pages.saturating_sub(self.pages.len());
        let reserved = with_any_room(|| {
            self.pages.reserve(more)?;
            Ok(self.used.reserve(more)?)
        });
        reserved.map_err(|why| why.errno())?;
        for _ in 0..more {
            self.pages.push(alloc()?).map_err(|_| Errno::ENOMEM)?;
            self.used.push((0, 0)).map_err(|_| Errno::ENOMEM)?;
        }
        Ok(())
    }

    /// Adds bytes, a packet or a part of a stream. What there is no page for counts only.
    pub fn push(&mut self, mut bytes: &[u8], is_packet: bool) {
        while !bytes.is_empty() {
            // A head, and a word of bytes: less is not worth a record.
            let room = match self.begun {
                0 => 0,
                _ => ROOM.saturating_sub(self.fill),
            };
            if room < size_of::<Piece>().saturating_mul(2) {
                (self.begun, self.fill) = (self.begun.saturating_add(1), 0);
                continue;
            }
            let most = room.saturating_sub(size_of::<Piece>());
            let (now, rest) = bytes.split_at_checked(most).unwrap_or((bytes, &[]));
            let goes_on = is_packet && !rest.is_empty();
            let piece = Piece {
                length: u32::try_from(now.len()).unwrap_or(0),
                flags: if is_packet { PIECE_OF_PACKET } else { 0 }
                    | if goes_on { PIECE_GOES_ON } else { 0 },
            };
            self.put(&piece, now);
            if !goes_on {
                // The parts of a packet come back as one.
                self.count_buffer(now.len(), is_packet);
            }
            bytes = rest;
        }
    }

    /// Puts a record for which there is room behind the last one.
    fn put(&mut self, piece: &Piece, bytes: &[u8]) {
        let whole = bytes.len().next_multiple_of(8);
        let from = size_of::<Held>().saturating_add(self.fill);
        self.fill = self
            .fill
            .saturating_add(size_of::<Piece>())
            .saturating_add(whole);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let at = self.begun.saturating_sub(1);
        let (Some(page), Some(used)) = (self.pages.get_mut(at), self.used.get_mut(at)) else {
            return;
        };
        let room = page.bytes().get_mut(from..).unwrap_or_default();
        copy(room, piece.as_bytes());
        let room = room.get_mut(size_of::<Piece>()..).unwrap_or_default();
        copy(room, bytes);
        for byte in room.get_mut(bytes.len()..whole).unwrap_or_default() {
            *byte = 0;
        }
        *used = (used.0.saturating_add(1), self.fill);
    }

    /// Writes the heads of the pages; gives the note its part. Pages that are not needed go:
    /// the next kernel would find them kept, and named by nobody.
    pub fn end(&mut self, note: &mut Pipe) {
        self.pages.truncate(self.begun);
        self.used.truncate(self.begun);
        self.pages.shrink();
        self.used.shrink();
        note.bytes = self.bytes;
        note.pages = self.used.len() as u64;
        note.records = 0;
        note.first = 0;
        for (page, &(count, length)) in self.pages.iter_mut().zip(&*self.used).rev() {
            let mut head = Held {
                next: note.first,
                count,
                length: length as u64,
                checksum: 0,
            };
            let mut digest = digest_of(&head);
            let records = page.bytes().get(size_of::<Held>()..).unwrap_or_default();
            digest.absorb_bytes(records.get(..length).unwrap_or_default());
            head.checksum = digest.finish();
            copy(page.bytes(), head.as_bytes());
            note.first = page.address();
            note.records = note.records.saturating_add(count);
        }
    }
}

#[cfg(test)]
impl<B> Contents<B> {
    /// The pages.
    pub(super) fn into_pages(self) -> Vec<B> {
        self.pages
    }
}

impl<B: BlockMemory> Default for Contents<B> {
    fn default() -> Self {
        Self::new()
    }
}

fn digest_of(head: &Held) -> Digest {
    let mut digest = Digest::new();
    let counts = head.as_bytes().get(..offset_of!(Held, checksum));
    digest.absorb_bytes(counts.unwrap_or_default());
    digest
}

/// Reads what a pipe has held: calls `each` with the bytes of each packet, and of each part of
/// a stream. Gives the addresses of the pages.
///
/// # Errors
/// [`Unread`], after some of it may have been read; ENOMEM. Or those of `each`.
pub fn read<P: HandedMemory>(
    note: &Pipe,
    page: impl Fn(u64) -> Result<P, PageError>,
    mut each: impl FnMut(&[u8], bool) -> Result<(), Errno>,
) -> Result<Vec<u64>, Failed> {
    let pages = usize::try_from(note.pages).unwrap_or(usize::MAX);
    let mut addresses = Vec::with_capacity(pages).map_err(|_| Failed::Host(Errno::ENOMEM))?;
    let mut whole = Vec::with_capacity(BLOCK_SIZE).map_err(|_| Failed::Host(Errno::ENOMEM))?;
    let (mut next, mut records, mut bytes) = (note.first, 0_u64, 0_u64);
    for _ in 0..pages {
        let found = page(next).map_err(Unread::from)?;
        let _ = addresses.push(next);
        let head: Held = structure(&found, 0).ok_or(Unread::Mark)?;
        let length = checked(&found, &head)?;
        let mut at = 0;
        for _ in 0..head.count {
            at = take(&found, at, length, &mut whole, &mut bytes, &mut each)?;
        }
        if at != length {
            return Err(Unread::Length(head.length).into());
        }
        records = records.saturating_add(head.count);
        next = head.next;
    }
    let as_said = (next, records, bytes) == (0, note.records, note.bytes);
    if !as_said || !whole.is_empty() {
        return Err(Unread::Value.into());
    }
    Ok(addresses)
}

/// The bytes of records that a page has, if its checksum is right.
fn checked(page: &impl HandedMemory, head: &Held) -> Result<usize, Unread> {
    let length = usize::try_from(head.length).unwrap_or(usize::MAX);
    // No record has less than a head and a word.
    let least = size_of::<Piece>().saturating_mul(2) as u64;
    let counts = head.count >= 1 && head.count.saturating_mul(least) <= length as u64;
    if length > ROOM || length % 8 != 0 || !counts {
        return Err(Unread::Length(head.length));
    }
    let mut digest = digest_of(head);
    let mut at = size_of::<Held>();
    while at < size_of::<Held>().saturating_add(length) {
        let word: u64 = structure(page, at).ok_or(Unread::Mark)?;
        digest.absorb_bytes(word.as_bytes());
        at = at.saturating_add(8);
    }
    match digest.finish() == head.checksum {
        true => Ok(length),
        false => Err(Unread::Checksum),
    }
}

/// Takes the record at an offset; gives that of the next.
fn take(
    page: &impl HandedMemory,
    at: usize,
    end: usize,
    whole: &mut Vec<u8>,
    bytes: &mut u64,
    each: &mut impl FnMut(&[u8], bool) -> Result<(), Errno>,
) -> Result<usize, Failed> {
    let offset = size_of::<Held>().saturating_add(at);
    let piece: Piece = structure(page, offset).ok_or(Unread::Mark)?;
    let length = usize::try_from(piece.length).unwrap_or(usize::MAX);
    let is_packet = piece.flags & PIECE_OF_PACKET != 0;
    let goes_on = piece.flags & PIECE_GOES_ON != 0;
    let is_known = piece.flags & !(PIECE_OF_PACKET | PIECE_GOES_ON) == 0;
    let next = at
        .saturating_add(size_of::<Piece>())
        .saturating_add(length.checked_next_multiple_of(8).unwrap_or(usize::MAX));
    let behind_packet = is_packet || (whole.is_empty() && !goes_on);
    let fits = whole.len().saturating_add(length) <= BLOCK_SIZE;
    if length == 0 || next > end || !is_known || !behind_packet || !fits {
        return Err(Unread::Value.into());
    }
    let from = whole.len();
    for _ in 0..length {
        whole.push(0).map_err(|_| Failed::Host(Errno::ENOMEM))?;
    }
    let room = whole.get_mut(from..).unwrap_or_default();
    if !page.copy(offset.saturating_add(size_of::<Piece>()), room) {
        return Err(Unread::Mark.into());
    }
    *bytes = bytes.saturating_add(length as u64);
    if !goes_on {
        each(whole, is_packet).map_err(Failed::Host)?;
        whole.truncate(0);
    }
    Ok(next)
}

/// Why what a pipe has held is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It cannot be.
    Unread(Unread),
    /// Memory is short, or who wanted it has said so.
    Host(Errno),
}

impl From<Unread> for Failed {
    fn from(why: Unread) -> Self {
        Self::Unread(why)
    }
}
