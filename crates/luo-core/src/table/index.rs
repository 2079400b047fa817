// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Look-up by key in constant expected time, whatever a peer chooses as keys.
//!
//! An open-addressing table of slots. The keys stay where the objects are; the
//! caller compares. The hash is keyed with numbers that only the host knows, so
//! that nobody can choose names or tokens that collide.

use crate::mem::{OutOfMemory, Vec};

/// Marks an empty cell; no slab uses this slot.
const EMPTY: u32 = u32::MAX;
/// Cells of the smallest table; a power of two.
const SMALLEST: usize = 16;

#[derive(Clone, Copy)]
struct Cell {
    hash: u32,
    slot: u32,
}

/// A set of slots that can be found by the hash of their key.
///
/// # Invariants
/// The number of cells is 0 or a power of two, at least a quarter of them is
/// empty, and each entry stands at or behind the place of its hash with no
/// empty cell between.
pub(crate) struct Index {
    cells: Vec<Cell>,
    len: usize,
}

impl Index {
    pub(crate) const fn new() -> Self {
        Self {
            cells: Vec::new(),
            len: 0,
        }
    }

    /// Cells and entries: when memory is asked for next.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn shape(&self) -> [usize; 2] {
        [self.cells.len(), self.len]
    }

    fn mask(&self) -> usize {
        self.cells.len().saturating_sub(1)
    }

    /// The slot with this hash for which `same` holds.
    pub(crate) fn find(&self, hash: u32, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = hash as usize & self.mask();
        loop {
            let cell = self.cells.get(at)?;
            if cell.slot == EMPTY {
                return None;
            }
            if cell.hash == hash && same(cell.slot) {
                return Some(cell.slot);
            }
            at = at.wrapping_add(1) & self.mask();
        }
    }

    /// Makes sure that `additional` inserts in a row ask for no memory.
    pub(crate) fn reserve(&mut self, additional: usize) -> Result<(), OutOfMemory> {
        let wanted = self.len.checked_add(additional).ok_or(OutOfMemory)?;
        // Never more than three quarters full.
        let cells = wanted
            .checked_mul(4)
            .ok_or(OutOfMemory)?
            .div_ceil(3)
            .checked_next_power_of_two()
            .ok_or(OutOfMemory)?
            .max(SMALLEST);
        if cells <= self.cells.len() {
            return Ok(());
        }
        let empty = Cell {
            hash: 0,
            slot: EMPTY,
        };
        let old = core::mem::replace(&mut self.cells, Vec::filled(empty, cells)?);
        for cell in old.into_iter().filter(|cell| cell.slot != EMPTY) {
            self.place(cell);
        }
        Ok(())
    }

    fn place(&mut self, cell: Cell) {
        let mask = self.mask();
        let mut at = cell.hash as usize & mask;
        while let Some(place) = self.cells.get_mut(at) {
            if place.slot == EMPTY {
                *place = cell;
                return;
            }
            at = at.wrapping_add(1) & mask;
        }
    }

    /// Adds a slot that is not in the index yet.
    pub(crate) fn insert(&mut self, hash: u32, slot: u32) -> Result<(), OutOfMemory> {
        self.reserve(1)?;
        self.place(Cell { hash, slot });
        self.len = self.len.saturating_add(1);
        Ok(())
    }

    /// Takes a slot out; nothing happens if it is not there.
    pub(crate) fn remove(&mut self, hash: u32, slot: u32) {
        let mask = self.mask();
        let mut hole = hash as usize & mask;
        loop {
            match self.cells.get(hole) {
                None => return,
                Some(cell) if cell.slot == EMPTY => return,
                Some(cell) if cell.slot == slot => break,
                Some(_) => hole = hole.wrapping_add(1) & mask,
            }
        }
        self.len = self.len.saturating_sub(1);
        // Entries behind the hole that may stand in it move up, so that no
        // search stops short of them.
        let mut at = hole;
        loop {
            at = at.wrapping_add(1) & mask;
            let Some(&cell) = self.cells.get(at) else {
                return;
            };
            if cell.slot == EMPTY {
                break;
            }
            let home = cell.hash as usize & mask;
            let from_home = at.wrapping_sub(home) & mask;
            let from_hole = at.wrapping_sub(hole) & mask;
            if from_home >= from_hole {
                if let Some(place) = self.cells.get_mut(hole) {
                    *place = cell;
                }
                hole = at;
            }
        }
        if let Some(place) = self.cells.get_mut(hole) {
            place.slot = EMPTY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::hash::Hash;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// An index is a map from key to slot, collisions or not.
        #[test]
        fn behaves_like_a_map(steps in proptest::collection::vec((any::<bool>(), 0u64..64), 0..400),
                              bits in 1u32..=32) {
            let hash = Hash::new((1, 2));
            // Few bits make many collisions.
            let of = |key: u64| hash.of_words(&[key]) >> (32 - bits);
            let mut index = Index::new();
            let mut model = BTreeMap::new();
            for (insert, key) in steps {
                let slot = key as u32;
                if insert && !model.contains_key(&key) {
                    index.insert(of(key), slot).unwrap();
                    model.insert(key, slot);
                } else if !insert {
                    index.remove(of(key), slot);
                    model.remove(&key);
                }
                for probe in 0..64u64 {
                    let found = index.find(of(probe), |slot| u64::from(slot) == probe);
                    prop_assert_eq!(found, model.get(&probe).copied());
                }
            }
        }
    }
}
