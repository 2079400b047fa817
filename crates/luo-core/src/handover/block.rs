// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Chains of pages that records are written to at freeze.
//!
//! The pages are taken when there is still somebody to tell that memory is
//! short, one ahead of each record; writing them at freeze cannot fail.

use luo_abi::handover::{BlockHeader, BLOCK_SIZE, MAX_BLOCKS};
use zerocopy::{Immutable, IntoBytes};

use crate::error::Error;
use crate::mem::Vec;

/// A page that came from the previous kernel. That kernel may have been wrong, and what is
/// on the page may belong to a driver as well, who writes to it: nobody looks at the page
/// but through copies, and each byte is looked at once.
pub trait HandedMemory {
    /// Copies bytes out of the page, all of `to`; false if there are not so many.
    fn copy(&self, offset: usize, to: &mut [u8]) -> bool;
}

/// A page of a host that knows that nobody writes to it.
impl<T: AsRef<[u8]>> HandedMemory for T {
    fn copy(&self, offset: usize, to: &mut [u8]) -> bool {
        let bytes = self.as_ref().get(offset..);
        let Some(from) = bytes.and_then(|bytes| bytes.get(..to.len())) else {
            return false;
        };
        luo_abi::bytes::copy(to, from);
        true
    }
}

/// A page of [`BLOCK_SIZE`] bytes that reaches the next kernel.
pub trait BlockMemory {
    /// Where the next kernel finds it: its physical address.
    fn address(&self) -> u64;
    /// Its bytes, [`BLOCK_SIZE`] of them.
    fn bytes(&mut self) -> &mut [u8];
}

/// Whether there is room for a record.
pub(crate) enum Room {
    /// There is room for the record.
    Ready,
    /// A chain wants one more page: get it without the lock and come again.
    WantsBlock,
}

/// Pages that were got without the lock for chains that may want them. What is
/// not needed is dropped with it, without the lock.
pub(crate) struct Spares<B>([Option<B>; 2]);

impl<B> Spares<B> {
    pub(crate) const fn new() -> Self {
        Self([None, None])
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// Adds a page; there are never more than two chains that want one.
    pub(crate) fn add(&mut self, block: B) {
        if let Some(free) = self.0.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(block);
        }
    }

    pub(crate) fn take(&mut self) -> Option<B> {
        self.0.iter_mut().find_map(Option::take)
    }

    /// The page if `wanted`.
    pub(crate) fn take_if(&mut self, wanted: bool) -> Option<B> {
        if wanted {
            self.take()
        } else {
            None
        }
    }
}

/// Pages for records of `PER_BLOCK` to a page, `MOST` pages at most.
pub(crate) struct Chain<B, const PER_BLOCK: usize, const MOST: usize = MAX_BLOCKS> {
    blocks: Vec<B>,
}

impl<B: BlockMemory, const PER_BLOCK: usize, const MOST: usize> Chain<B, PER_BLOCK, MOST> {
    pub(crate) const fn new() -> Self {
        Self { blocks: Vec::new() }
    }

    /// Pages, room for pages: when memory is asked for next.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn shape(&self) -> [usize; 2] {
        self.blocks.shape()
    }

    /// Whether a page is missing for `records` records; there is room to add it.
    ///
    /// # Errors
    /// [`Error::Full`] at the limit of the format, [`Error::NoMemory`].
    pub(crate) fn wants(&mut self, records: usize) -> Result<bool, Error> {
        if records > MOST.saturating_mul(PER_BLOCK) {
            return Err(Error::Full);
        }
        if records <= self.blocks.len().saturating_mul(PER_BLOCK) {
            return Ok(false);
        }
        self.blocks.reserve(1)?;
        Ok(true)
    }

    /// Adds a page that [`Self::wants`] asked for.
    pub(crate) fn give(&mut self, block: Option<B>) {
        if let Some(block) = block {
            // Room for it was made.
            let _ = self.blocks.push(block);
        }
    }

    /// Takes off the last page if `records` records do not need it. The caller
    /// drops it without the lock.
    pub(crate) fn surplus(&mut self, records: usize) -> Option<B> {
        let needed = records.div_ceil(PER_BLOCK);
        if self.blocks.len() > needed {
            self.blocks.pop()
        } else {
            None
        }
    }

    /// Links the pages for `records` records and writes their headers.
    ///
    /// Returns the address of the first page, 0 if there are no records.
    pub(crate) fn link(&mut self, records: usize) -> u64 {
        let needed = records.div_ceil(PER_BLOCK).min(self.blocks.len());
        let mut next = 0;
        let mut left = records;
        // From the last to the first: each header needs its successor's address.
        for at in (0..needed).rev() {
            let before = at.saturating_mul(PER_BLOCK);
            let here = left.saturating_sub(before);
            left = before;
            if let Some(block) = self.blocks.get_mut(at) {
                let header = BlockHeader {
                    next,
                    count: here as u64,
                };
                put(block.bytes(), 0, &header);
                next = block.address();
            }
        }
        next
    }

    /// Writes record number `at`.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] if no page was reserved for it.
    pub(crate) fn write<R: IntoBytes + Immutable>(
        &mut self,
        at: usize,
        record: &R,
    ) -> Result<(), Error> {
        let in_block = at.checked_rem(PER_BLOCK).ok_or(Error::Inconsistent)?;
        let block = at.checked_div(PER_BLOCK).ok_or(Error::Inconsistent)?;
        let offset = in_block
            .saturating_mul(size_of::<R>())
            .saturating_add(size_of::<BlockHeader>());
        let block = self.blocks.get_mut(block).ok_or(Error::Inconsistent)?;
        if put(block.bytes(), offset, record) {
            Ok(())
        } else {
            Err(Error::Inconsistent)
        }
    }
}

/// Copies `record` into a page; false if it does not fit.
pub(crate) fn put<R: IntoBytes + Immutable>(page: &mut [u8], offset: usize, record: &R) -> bool {
    debug_assert!(page.len() == BLOCK_SIZE);
    page.get_mut(offset..)
        .is_some_and(|to| record.write_to_prefix(to).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use luo_abi::handover::{
        FILES_PER_BLOCK, MAX_FILES_PER_SESSION, MAX_SESSIONS, SESSIONS_PER_BLOCK,
    };
    use luo_abi::supplement::{MAX_RECORDS, MAX_RECORD_BLOCKS, RECORDS_PER_BLOCK};

    struct Page(Vec<u8>);

    impl BlockMemory for Page {
        fn address(&self) -> u64 {
            0x1000
        }

        fn bytes(&mut self) -> &mut [u8] {
            &mut self.0
        }
    }

    fn last_and_one_more<const PER_BLOCK: usize, const MOST: usize>(most: usize) {
        let mut chain = Chain::<Page, PER_BLOCK, MOST>::new();
        assert_eq!(chain.wants(most), Ok(true));
        assert_eq!(chain.wants(most + 1), Err(Error::Full));
    }

    #[test]
    fn a_chain_ends_at_the_limit_of_the_format() {
        last_and_one_more::<SESSIONS_PER_BLOCK, MAX_BLOCKS>(MAX_SESSIONS);
        last_and_one_more::<FILES_PER_BLOCK, MAX_BLOCKS>(MAX_FILES_PER_SESSION);
        last_and_one_more::<RECORDS_PER_BLOCK, MAX_RECORD_BLOCKS>(MAX_RECORDS);
    }

    #[test]
    fn a_page_is_taken_for_each_full_one_and_given_back() {
        let mut chain = Chain::<Page, 3>::new();
        for records in 1..=7 {
            let wanted = chain.wants(records).unwrap();
            assert_eq!(wanted, records % 3 == 1);
            chain.give(wanted.then(|| Page(Vec::new())));
        }
        // One a call: a caller takes out one record at a time.
        for left in (0..7).rev() {
            assert_eq!(chain.surplus(left).is_some(), left % 3 == 0);
        }
    }
}
