// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! How many huge pages the files that are preserved have, by size and node: what the next
//! kernel does not put into its pools at boot, for they come into them with their files.

use core::mem::{offset_of, size_of};

use luo_abi::bytes::copy;
use luo_abi::memfd as wire;
use luo_core::{BlockMemory, Digest, HandedMemory};
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::source::record;

/// The page that says it, which the next kernel finds whenever the jump comes.
pub struct Pools<B> {
    block: B,
    /// Records on the page.
    count: usize,
}

impl<B: BlockMemory> Pools<B> {
    /// None, on a page that is zeroed.
    pub fn new(block: B) -> Self {
        let mut pools = Self { block, count: 0 };
        pools.sign();
        pools
    }

    /// Where the page is: its physical address.
    pub fn address(&self) -> u64 {
        self.block.address()
    }

    #[cfg(test)]
    pub(crate) fn block(&self) -> &B {
        &self.block
    }

    /// Some pages more of one order on one node. False if there is no room for one node more.
    #[must_use]
    pub fn add(&mut self, order: u32, node: u32, pages: u64) -> bool {
        let more = |record: wire::PoolRecord| record.pages.saturating_add(pages);
        if self.change(order, node, more) {
            return true;
        }
        let new = wire::PoolRecord { order, node, pages };
        let Some(slot) = slots(self.block.bytes()).nth(self.count) else {
            return false;
        };
        copy(slot, new.as_bytes());
        self.count = self.count.saturating_add(1);
        self.sign();
        true
    }

    /// Some pages less, which were added.
    pub fn remove(&mut self, order: u32, node: u32, pages: u64) {
        self.change(order, node, |record| record.pages.saturating_sub(pages));
    }

    /// Changes the number of a record. False if there is none.
    fn change(&mut self, order: u32, node: u32, to: impl Fn(wire::PoolRecord) -> u64) -> bool {
        let mut is_there = false;
        for slot in slots(self.block.bytes()).take(self.count) {
            let Ok(found) = wire::PoolRecord::read_from_bytes(slot) else {
                continue;
            };
            if found.order == order && found.node == node {
                let pages = to(found);
                copy(slot, wire::PoolRecord { pages, ..found }.as_bytes());
                is_there = true;
            }
        }
        if is_there {
            self.sign();
        }
        is_there
    }

    /// Makes the head true.
    fn sign(&mut self) {
        let mut header = wire::PoolsHeader {
            magic: wire::POOLS_MAGIC,
            count: self.count as u64,
            checksum: 0,
        };
        let mut digest = digest_of(&header);
        let bytes = self.block.bytes();
        for slot in slots(bytes).take(self.count) {
            digest.absorb_bytes(slot);
        }
        header.checksum = digest.finish();
        copy(bytes, header.as_bytes());
    }
}

/// Where records stand on the page.
fn slots(page: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    let records = page.get_mut(size_of::<wire::PoolsHeader>()..);
    let records = records.unwrap_or_default();
    records.chunks_exact_mut(size_of::<wire::PoolRecord>())
}

/// How many huge pages of an order the previous kernel's files have, on one node or on all, by
/// the page that it has left. What is no such page, or is damaged, says none: the pool is filled
/// as if there were none.
pub fn kept_huge_pages(page: &impl HandedMemory, order: u32, node: Option<u32>) -> u64 {
    read(page, order, node).unwrap_or(0)
}

fn read(page: &impl HandedMemory, order: u32, node: Option<u32>) -> Option<u64> {
    let header: wire::PoolsHeader = record(page, 0)?;
    if header.magic != wire::POOLS_MAGIC || header.count > wire::POOLS_PER_PAGE as u64 {
        return None;
    }
    let mut digest = digest_of(&header);
    let mut sum = 0u64;
    let mut at = size_of::<wire::PoolsHeader>();
    for _ in 0..header.count {
        let found: wire::PoolRecord = record(page, at)?;
        digest.absorb_bytes(found.as_bytes());
        if found.order == order && node.is_none_or(|node| found.node == node) {
            sum = sum.saturating_add(found.pages);
        }
        at = at.saturating_add(size_of::<wire::PoolRecord>());
    }
    (digest.finish() == header.checksum).then_some(sum)
}

fn digest_of(header: &wire::PoolsHeader) -> Digest {
    let mut digest = Digest::new();
    let before = offset_of!(wire::PoolsHeader, checksum);
    digest.absorb_bytes(header.as_bytes().get(..before).unwrap_or_default());
    digest
}
