// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Look-up by key in constant expected time, whatever a peer chooses as keys.
//!
//! A hash table with chains whose links are beside the objects, by their slots. The keys
//! stay where the objects are; the caller compares. The hash is keyed with numbers that
//! only the host knows, so that nobody can choose names or tokens that collide.
//!
//! The table grows and shrinks by one bucket at a time (Litwin's linear hashing): an
//! insert splits one bucket and a removal joins some, so that none waits for a table to be
//! built anew. An insert for which room was reserved always succeeds: if others have used
//! the room for one more bucket and there is no memory for another, the chains are longer
//! for a while.

use crate::looks::look;
use crate::mem::OutOfMemory;
use crate::table::beside::reserve_segment;
use crate::table::segments::{Segments, SEGMENT};

/// Marks the end of a chain; no slab uses this slot.
const END: u32 = u32::MAX;
/// Buckets of the smallest table; a power of two.
const SMALLEST: usize = 8;
/// Entries for each bucket. With more the chains would be long, with fewer each insert
/// would split a bucket.
const LOAD: usize = 2;
/// Buckets that are joined with others when an entry goes from a table that is almost
/// empty: as many as make them vanish with the entries.
const JOINS: usize = 4;

#[derive(Clone, Copy)]
struct Link {
    hash: u32,
    next: u32,
}

const UNUSED: Link = Link { hash: 0, next: END };

/// A set of slots that can be found by the hash of their key.
///
/// # Invariants
/// An entry is in the chain of the bucket of its hash. There are [`SMALLEST`] buckets at
/// least.
pub(crate) struct Index {
    /// The first slot of the chain of each of the first buckets: a table of a few entries
    /// asks for no memory for its buckets.
    few: [u32; SMALLEST],
    /// The same of the buckets behind those.
    buckets: Segments<u32>,
    /// How many buckets there are.
    count: usize,
    links: Segments<Link>,
    len: usize,
    /// Entries that were moved to another bucket: what a test takes for the time.
    #[cfg(test)]
    moves: usize,
}

impl Index {
    pub(crate) const fn new() -> Self {
        Self {
            few: [END; SMALLEST],
            buckets: Segments::new(),
            count: SMALLEST,
            links: Segments::new(),
            len: 0,
            #[cfg(test)]
            moves: 0,
        }
    }

    /// Buckets, room for them and for links: when memory is asked for next. How many links
    /// there are depends on the order in which objects went, and decides nothing.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn shape(&self) -> [usize; 2] {
        let ([_, links], [_, buckets]) = (self.links.shape(), self.buckets.shape());
        [links, self.count.wrapping_shl(16) | buckets]
    }

    /// The bucket of a hash.
    fn bucket_of(&self, hash: u32) -> usize {
        bucket(hash, self.count)
    }

    fn first_in(&self, bucket: usize) -> u32 {
        let first = match bucket.checked_sub(SMALLEST) {
            None => self.few.get(bucket),
            Some(behind) => self.buckets.get(behind),
        };
        first.copied().unwrap_or(END)
    }

    fn first_in_mut(&mut self, bucket: usize) -> Option<&mut u32> {
        match bucket.checked_sub(SMALLEST) {
            None => self.few.get_mut(bucket),
            Some(behind) => self.buckets.get_mut(behind),
        }
    }

    /// Makes sure that a bucket behind all there are asks for no memory.
    fn reserve_bucket(&mut self, bucket: usize) -> Result<(), OutOfMemory> {
        self.buckets.reserve_at(behind_few(bucket))
    }

    fn link(&self, slot: u32) -> Link {
        self.links.get(slot as usize).copied().unwrap_or(UNUSED)
    }

    /// The slot with this hash for which `same` holds.
    pub(crate) fn find(&self, hash: u32, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut slot = self.first_in(self.bucket_of(hash));
        while slot != END {
            look();
            let link = self.links.get(slot as usize)?;
            if link.hash == hash && same(slot) {
                return Some(slot);
            }
            slot = link.next;
        }
        None
    }

    /// Makes sure that an insert of a slot, or of one before it, asks for no memory.
    pub(crate) fn reserve_at(&mut self, slot: usize) -> Result<(), OutOfMemory> {
        self.links.reserve_at(slot)?;
        if self.len >= self.most() {
            self.reserve_bucket(self.count)?;
        }
        Ok(())
    }

    /// Makes sure that inserts of slots of some segments, `additional` altogether, ask for
    /// no memory.
    pub(crate) fn reserve_segments(
        &mut self,
        segments: impl Iterator<Item = usize>,
        additional: usize,
    ) -> Result<(), OutOfMemory> {
        if additional == 0 {
            return Ok(());
        }
        for segment in segments {
            reserve_segment(&mut self.links, segment)?;
        }
        let entries = self.len.saturating_add(additional);
        let last = entries.div_ceil(LOAD).saturating_sub(1);
        if last >= self.count {
            let whole = (behind_few(self.count) / SEGMENT)..(behind_few(last) / SEGMENT);
            for segment in whole {
                reserve_segment(&mut self.buckets, segment)?;
            }
            self.reserve_bucket(last)?;
        }
        Ok(())
    }

    /// With more entries than these there is another bucket.
    fn most(&self) -> usize {
        self.count.saturating_mul(LOAD)
    }

    /// Adds a slot that is not in the index yet. On failure it is as it was.
    pub(crate) fn insert(&mut self, hash: u32, slot: u32) -> Result<(), OutOfMemory> {
        if self.len >= self.most() {
            self.reserve_bucket(self.count)?;
        }
        self.insert_reserved(hash, slot)
    }

    /// [`Self::insert`] for a slot that there is room for: it succeeds even if others have
    /// used up the room for another bucket.
    pub(crate) fn insert_reserved(&mut self, hash: u32, slot: u32) -> Result<(), OutOfMemory> {
        *self.links.extend_to(slot as usize, || UNUSED)? = Link { hash, next: END };
        self.len = self.len.saturating_add(1);
        if self.len > self.most() {
            self.split();
        }
        self.put(hash, slot);
        Ok(())
    }

    /// Puts a slot into its bucket.
    fn put(&mut self, hash: u32, slot: u32) {
        let bucket = self.bucket_of(hash);
        if let Some(first) = self.first_in_mut(bucket) {
            let next = core::mem::replace(first, slot);
            if let Some(link) = self.links.get_mut(slot as usize) {
                link.next = next;
            }
        }
    }

    /// Puts each slot of a chain into its bucket.
    fn put_all(&mut self, mut slot: u32) {
        while slot != END {
            look();
            let link = self.link(slot);
            self.put(link.hash, slot);
            #[cfg(test)]
            {
                self.moves += 1;
            }
            slot = link.next;
        }
    }

    fn take_chain(&mut self, bucket: usize) -> u32 {
        let first = self.first_in_mut(bucket);
        first.map_or(END, |first| core::mem::replace(first, END))
    }

    /// Adds a bucket, if there is memory for it.
    fn split(&mut self) {
        let added = self.count;
        if self.buckets.extend_to(behind_few(added), || END).is_err() {
            return;
        }
        // The entries that belong there were in the bucket without its highest bit.
        let chain = self.take_chain(without_highest_bit(added));
        self.count = added.saturating_add(1);
        self.put_all(chain);
    }

    /// Takes the last bucket away.
    fn join(&mut self) {
        let last = self.count.saturating_sub(1);
        let chain = self.take_chain(last);
        self.count = last;
        self.put_all(chain);
        let behind = behind_few(last);
        if behind % SEGMENT == 0 {
            self.buckets.give_back_and_trim(behind / SEGMENT);
        }
    }

    /// Takes a slot out; nothing happens if it is not there.
    pub(crate) fn remove(&mut self, slot: u32) {
        let Link { hash, next } = self.link(slot);
        let bucket = self.bucket_of(hash);
        let Some(first) = self.first_in_mut(bucket) else {
            return;
        };
        if *first == slot && slot != END {
            *first = next;
        } else {
            let mut before = *first;
            loop {
                look();
                // There is no link behind the end: it is not in the table.
                let Some(link) = self.links.get_mut(before as usize) else {
                    return;
                };
                if link.next == slot && slot != END {
                    link.next = next;
                    break;
                }
                before = link.next;
            }
        }
        self.len = self.len.saturating_sub(1);
        for _ in 0..JOINS {
            if self.count <= SMALLEST || self.len >= self.count / JOINS {
                break;
            }
            self.join();
        }
    }

    /// Gives back the room for a segment that the slab of what is found here has given
    /// back.
    pub(crate) fn give_back(&mut self, segment: usize) {
        self.links.give_back_and_trim(segment);
    }

    /// Places there is room for, in buckets and links.
    #[cfg(test)]
    fn room(&self) -> usize {
        self.buckets.room() + self.links.room()
    }
}

/// The place of a bucket among those behind the first few.
const fn behind_few(bucket: usize) -> usize {
    bucket.saturating_sub(SMALLEST)
}

/// The bucket of a hash among `count`, which is not 0: as many of its low bits as make the
/// number of a bucket that there is.
fn bucket(hash: u32, count: usize) -> usize {
    let mask = usize::MAX
        .checked_shr(count.saturating_sub(1).leading_zeros())
        .unwrap_or(0);
    let bucket = hash as usize & mask;
    if bucket < count {
        bucket
    } else {
        bucket & (mask >> 1)
    }
}

const fn without_highest_bit(bucket: usize) -> usize {
    match bucket.checked_ilog2() {
        Some(bit) => bucket & !1usize.wrapping_shl(bit),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::hash::Hash;
    use crate::table::slab::Slab;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    #[test]
    fn a_bucket_for_each_hash() {
        assert_eq!((0..16).map(|hash| bucket(hash, 8)).max(), Some(7));
        assert_eq!(bucket(8, 9), 8);
        assert_eq!(bucket(9, 9), 1);
        assert_eq!(bucket(u32::MAX, 12), 7);
        assert_eq!((without_highest_bit(8), without_highest_bit(13)), (0, 5));
    }

    /// No insert and no removal moves more than a few entries, and room comes and goes
    /// with the entries.
    #[test]
    fn the_work_of_a_call_and_the_room_are_bounded() {
        // Sessions are closed from their last file to the first.
        bounded(|ids| ids);
        bounded(|mut ids| {
            ids.reverse();
            ids
        });
        bounded(|mut ids| {
            ids.sort_by_key(|id| id.slot.wrapping_mul(0x9e37_79b9));
            ids
        });
    }

    type Ids = Vec<crate::id::FileId>;

    fn bounded(go: impl FnOnce(Ids) -> Ids) {
        const MANY: u32 = 50_000;
        let hash = Hash::new((1, 2));
        let of = |key: u32| hash.of_words(&[key.into()]);
        let mut index = Index::new();
        let mut most = 0;
        let mut slab: Slab<crate::id::of::File, ()> = Slab::new();
        let ids: Vec<_> = (0..MANY).map(|_| slab.insert(()).unwrap()).collect();
        let mut call = |index: &mut Index, call: &mut dyn FnMut(&mut Index)| {
            let before = index.moves;
            call(index);
            most = most.max(index.moves - before);
        };
        for key in 0..MANY {
            call(&mut index, &mut |index| index.insert(of(key), key).unwrap());
        }
        assert_eq!(index.count, MANY as usize / LOAD);
        for id in go(ids) {
            call(&mut index, &mut |index| index.remove(id.slot));
            slab.remove(id);
            if let Some(segment) = slab.take_gone() {
                index.give_back(segment);
            }
        }
        assert!(most <= 24, "{most} entries");
        assert!(index.room() <= 4 * SEGMENT, "{}", index.room());
    }

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
                    index.remove(slot);
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
