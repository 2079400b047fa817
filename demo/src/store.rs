// SPDX-License-Identifier: MIT OR Apache-2.0
//! The key-value store, all of it inside one memfd.
//!
//! ```text
//! slot 0:  magic, entries, last write, checksum
//! slot n:  hash | number of the write | key, 32 bytes | value, 208 bytes
//! ```
//!
//! Open addressing with linear probing over fixed slots of 256 bytes. The hash
//! covers the rest of its slot, and the checksum is the sum of all hashes, so
//! that a lost, torn or stale slot shows. An empty slot is all zeros.

use anyhow::{Result, bail, ensure};
use luo_conformance::fill::Prng;
use luo_sys::MappedFile;

/// Entries of the full store.
pub(crate) const ENTRIES: u64 = 300_000;
/// Bytes of the store's memory.
pub(crate) const LENGTH: usize = 128 << 20;

const SLOT_WORDS: usize = 32;
const SLOT_BYTES: usize = SLOT_WORDS * 8;
/// Slots for entries, without the first one: a prime, which spreads well.
const SLOTS: u64 = (LENGTH / SLOT_BYTES - 1) as u64;
const MAGIC: u64 = u64::from_le_bytes(*b"LUOSTORE");

const HASH: usize = 0;
const NUMBER: usize = 1;
const KEY: usize = 2;
const VALUE: usize = 6;

type Slot = [u64; SLOT_WORDS];

/// The words of slot 0, as offsets in bytes.
mod header {
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const ENTRIES: usize = 8;
    pub(crate) const LAST_WRITE: usize = 16;
    pub(crate) const CHECKSUM: usize = 24;
}

/// The store. One writer at a time; the memory may be read by anybody.
pub(crate) struct Store {
    map: MappedFile,
}

/// What a walk over all slots has found.
pub(crate) struct Census {
    /// Entries whose hash is right.
    pub(crate) entries: u64,
    /// The sum of their hashes.
    pub(crate) checksum: u64,
    /// The greatest number of a write.
    pub(crate) newest: u64,
}

impl Store {
    /// Makes an empty store of zeroed memory.
    pub(crate) fn create(map: MappedFile) -> Result<Self> {
        map.store(header::MAGIC, MAGIC)?;
        Ok(Self { map })
    }

    /// Opens a store that is there.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn open(map: MappedFile) -> Result<Self> {
        ensure!(map.load(header::MAGIC)? == MAGIC, "this memory is no store");
        Ok(Self { map })
    }

    /// How many entries there are.
    pub(crate) fn entries(&self) -> Result<u64> {
        Ok(self.map.load(header::ENTRIES)?)
    }

    /// The number of the last write; writes are counted from 1.
    pub(crate) fn last_write(&self) -> Result<u64> {
        Ok(self.map.load(header::LAST_WRITE)?)
    }

    /// The sum of all hashes.
    pub(crate) fn checksum(&self) -> Result<u64> {
        Ok(self.map.load(header::CHECKSUM)?)
    }

    /// Writes the entry of `key`: its value is derived from the key and the
    /// number of the write.
    ///
    /// # Errors
    /// If the store is full.
    pub(crate) fn put(&mut self, key: u64) -> Result<()> {
        let number = self.last_write()? + 1;
        let (offset, old) = self.find(key)?;
        let slot = compose(key, number);
        self.map.copy_in(offset, &slot)?;
        let sum = self.checksum()?.wrapping_sub(old).wrapping_add(slot[HASH]);
        self.map.store(header::CHECKSUM, sum)?;
        if old == 0 {
            self.map.store(header::ENTRIES, self.entries()? + 1)?;
        }
        self.map.store(header::LAST_WRITE, number)?;
        Ok(())
    }

    /// The number of the write that wrote the entry of `key`, if there is one.
    ///
    /// # Errors
    /// If the entry is damaged.
    pub(crate) fn get(&self, key: u64) -> Result<Option<u64>> {
        let (offset, _) = self.find(key)?;
        let slot = self.slot(offset)?;
        if slot[HASH] == 0 {
            return Ok(None);
        }
        ensure!(
            slot == compose(key, slot[NUMBER]),
            "the entry of key {key} is damaged"
        );
        Ok(Some(slot[NUMBER]))
    }

    /// Verifies every slot.
    ///
    /// # Errors
    /// Says the first slot that is damaged.
    pub(crate) fn census(&self) -> Result<Census> {
        let mut census = Census {
            entries: 0,
            checksum: 0,
            newest: 0,
        };
        for index in 1..=SLOTS {
            let slot = self.slot(index as usize * SLOT_BYTES)?;
            if slot == [0; SLOT_WORDS] {
                continue;
            }
            ensure!(slot[HASH] == hash(&slot), "slot {index} is damaged");
            census.entries += 1;
            census.checksum = census.checksum.wrapping_add(slot[HASH]);
            census.newest = census.newest.max(slot[NUMBER]);
        }
        Ok(census)
    }

    fn slot(&self, offset: usize) -> Result<Slot> {
        let mut slot = [0; SLOT_WORDS];
        self.map.copy_out(offset, &mut slot)?;
        Ok(slot)
    }

    /// The slot of `key`, or the one it would take, and the hash in it.
    fn find(&self, key: u64) -> Result<(usize, u64)> {
        let text = key_text(key);
        let home = Prng::of(&[key]).next_u64() % SLOTS;
        for step in 0..SLOTS {
            let offset = (1 + (home + step) % SLOTS) as usize * SLOT_BYTES;
            let hash = self.map.load(offset)?;
            if hash == 0 {
                return Ok((offset, 0));
            }
            let mut found = [0; 4];
            self.map.copy_out(offset + KEY * 8, &mut found)?;
            if found == text {
                return Ok((offset, hash));
            }
        }
        bail!("the store is full")
    }
}

/// `user-0000004711`, padded with zeros to 32 bytes.
fn key_text(key: u64) -> [u64; 4] {
    let mut bytes = [0; 32];
    let text = format!("user-{key:010}");
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = chunk
            .iter()
            .rev()
            .fold(0, |word, &byte| word << 8 | u64::from(byte));
    }
    words
}

fn compose(key: u64, number: u64) -> Slot {
    let mut slot = [0; SLOT_WORDS];
    slot[NUMBER] = number;
    slot[KEY..VALUE].copy_from_slice(&key_text(key));
    let mut value = Prng::of(&[key, number]);
    slot[VALUE..].fill_with(|| value.next_u64());
    slot[HASH] = hash(&slot);
    slot
}

/// Never 0, which marks an empty slot.
fn hash(slot: &Slot) -> u64 {
    let mixed = slot[NUMBER..].iter().fold(MAGIC, |hash, &word| {
        let hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ (hash >> 29)
    });
    mixed.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Store {
        let memory = luo_sys::memfd::create("store", LENGTH as u64).unwrap();
        Store::create(MappedFile::new(&memory, LENGTH).unwrap()).unwrap()
    }

    #[test]
    fn what_was_put_is_got() {
        let mut store = store();
        for key in [1, 2, 3, 2] {
            store.put(key).unwrap();
        }
        assert_eq!(store.get(1).unwrap(), Some(1));
        assert_eq!(store.get(2).unwrap(), Some(4));
        assert_eq!(store.get(9).unwrap(), None);
        let census = store.census().unwrap();
        assert_eq!(census.entries, 3);
        assert_eq!(census.newest, 4);
        assert_eq!(census.checksum, store.checksum().unwrap());
        assert_eq!(store.entries().unwrap(), 3);
    }

    #[test]
    fn damage_is_noticed() {
        let mut store = store();
        store.put(5).unwrap();
        let (offset, _) = store.find(5).unwrap();
        let word = store.map.load(offset + 80).unwrap();
        store.map.store(offset + 80, word ^ 1).unwrap();
        assert!(store.get(5).is_err());
        assert!(store.census().is_err());
    }
}
