// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Objects that keep their place: look-up by id in constant time.
//!
//! The slots are in segments. Those segments that take more objects are in a list, the
//! missing ones at its end. A segment whose last object goes is given back, but for the
//! first one and one more, so that nobody who makes and removes an object over and over
//! asks for memory each time.

use crate::id::Id;
use crate::looks::look;
use crate::mem::OutOfMemory;
use crate::table::segments::{Segments, SEGMENT};

#[cfg(test)]
mod tests;

/// No slot and no segment; also the bound on how many slots there can be.
const NONE: u32 = u32::MAX;

/// Segments whose slots all have a number that is not [`NONE`].
const MOST: u32 = NONE / SEGMENT as u32;

enum Content<T> {
    Used(T),
    /// A free slot, and the next one in the chain of free slots of its segment.
    Free(u32),
}

struct Slot<T> {
    generation: u32,
    content: Content<T>,
}

/// The slab's knowledge of a segment.
struct Room {
    /// Objects in it.
    used: u32,
    /// The first of its free slots.
    free: u32,
    /// Neighbours in the list of the segments that take more objects.
    prev: u32,
    next: u32,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            used: 0,
            free: NONE,
            prev: NONE,
            next: NONE,
        }
    }
}

/// Objects of kind `K`, each in a slot that is used again once it is free.
///
/// # Invariants
/// - A segment is in the list if it holds fewer objects than it takes.
/// - Missing segments are behind all that are there.
/// - There are segments behind the first one only once that has its full size. So the first
///   of the list takes an object without memory if any does.
/// - `room` counts the objects that fit without memory.
pub(crate) struct Slab<K, T> {
    slots: Segments<Slot<T>, Room>,
    first: u32,
    last: u32,
    len: usize,
    room: usize,
    /// The generation of new slots: above all that those had whose segments were given
    /// back, so that no id names another object before a slot was used 2^32 times.
    generation: u32,
    /// A segment that was kept when its last object went.
    kept: u32,
    /// The segment that was given back last, if nobody has asked for it since.
    gone: u32,
    kind: core::marker::PhantomData<fn() -> K>,
}

const fn segment_of(slot: u32) -> usize {
    slot as usize / SEGMENT
}

impl<K, T> Slab<K, T> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Segments::new(),
            first: NONE,
            last: NONE,
            len: 0,
            room: 0,
            generation: 1,
            kept: NONE,
            gone: NONE,
            kind: core::marker::PhantomData,
        }
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Slots, room for slots: when memory is asked for next.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn shape(&self) -> [usize; 2] {
        self.slots.shape()
    }

    /// Slots there is room for.
    #[cfg(test)]
    pub(crate) fn slots(&self) -> usize {
        self.slots.room()
    }

    /// Makes sure that `additional` inserts in a row ask for no memory.
    pub(crate) fn reserve(&mut self, additional: usize) -> Result<(), OutOfMemory> {
        while self.room < additional {
            let wanted = additional.saturating_sub(self.room);
            self.grow(wanted)?;
        }
        Ok(())
    }

    /// Makes room for one more object at least: in the first segment, in one that is
    /// missing, or in a new one.
    fn grow(&mut self, wanted: usize) -> Result<(), OutOfMemory> {
        let first = self.slots.elements(0).len();
        let grows_first = first.saturating_add(self.slots.spare(0)) < SEGMENT;
        let segment = if grows_first {
            0
        } else if self.is_missing(self.last) {
            self.last
        } else {
            u32::try_from(self.slots.len()).map_err(|_| OutOfMemory)?
        };
        // Above that the number of a slot would not fit.
        if segment >= MOST {
            return Err(OutOfMemory);
        }
        let before = self.slots.spare(segment as usize);
        let listed = (segment as usize) < self.slots.len();
        // Beside the room that there is: without it nothing would grow.
        let wanted = before.saturating_add(wanted);
        let reserved = self.slots.reserve(segment as usize, wanted);
        if reserved.is_err() {
            // An entry that was made for it in the directory is that of a missing one.
            if !listed && (segment as usize) < self.slots.len() {
                self.link_back(segment);
            }
            return reserved;
        }
        let more = self.slots.spare(segment as usize).saturating_sub(before);
        self.room = self.room.saturating_add(more);
        // To the front, where it is before all that are missing.
        if listed {
            self.unlink(segment);
        }
        self.link_front(segment);
        Ok(())
    }

    fn is_missing(&self, segment: u32) -> bool {
        let segment = segment as usize;
        segment < self.slots.len()
            && self.slots.elements(segment).is_empty()
            && self.slots.spare(segment) == 0
    }

    fn link_front(&mut self, segment: u32) {
        let next = core::mem::replace(&mut self.first, segment);
        if let Some(room) = self.slots.about_mut(segment as usize) {
            (room.prev, room.next) = (NONE, next);
        }
        match self.slots.about_mut(next as usize) {
            Some(after) => after.prev = segment,
            None => self.last = segment,
        }
    }

    fn link_back(&mut self, segment: u32) {
        let prev = core::mem::replace(&mut self.last, segment);
        if let Some(room) = self.slots.about_mut(segment as usize) {
            (room.prev, room.next) = (prev, NONE);
        }
        match self.slots.about_mut(prev as usize) {
            Some(before) => before.next = segment,
            None => self.first = segment,
        }
    }

    /// Takes a segment out of the list, in which it is.
    fn unlink(&mut self, segment: u32) {
        let Some(room) = self.slots.about_mut(segment as usize) else {
            return;
        };
        let (prev, next) = (room.prev, room.next);
        (room.prev, room.next) = (NONE, NONE);
        match self.slots.about_mut(prev as usize) {
            Some(before) => before.next = next,
            None if self.first == segment => self.first = next,
            None => {}
        }
        match self.slots.about_mut(next as usize) {
            Some(after) => after.prev = prev,
            None if self.last == segment => self.last = prev,
            None => {}
        }
    }

    /// The slot that the next object gets; there is room for one.
    pub(crate) fn next_slot(&self) -> usize {
        let segment = self.first as usize;
        let base = segment.saturating_mul(SEGMENT);
        match self.slots.about(segment) {
            Some(room) if room.free != NONE => room.free as usize,
            _ => base.saturating_add(self.slots.elements(segment).len()),
        }
    }

    /// The highest slot for which arrays beside the slab need room before the next insert:
    /// the last slot in use of that segment after it, not the slot that the object will
    /// get. Which one that is depends on the order in which objects went, and whether
    /// memory is asked for must not.
    pub(crate) fn last_with_next(&self) -> usize {
        let segment = self.first as usize;
        let there = self.slots.elements(segment).len();
        let reused = self
            .slots
            .about(segment)
            .is_some_and(|room| room.free != NONE);
        let slots = if reused {
            there
        } else {
            there.saturating_add(1)
        };
        let base = segment.saturating_mul(SEGMENT);
        base.saturating_add(slots).saturating_sub(1)
    }

    /// [`Self::last_with_next`] for an object that has its slot already.
    pub(crate) fn last_beside(&self, slot: u32) -> usize {
        let segment = segment_of(slot);
        let there = self.slots.elements(segment).len();
        let base = segment.saturating_mul(SEGMENT);
        base.saturating_add(there).saturating_sub(1)
    }

    /// The segments in which objects get slots as long as no memory is asked for.
    pub(crate) fn segments_with_room(&self) -> impl Iterator<Item = usize> + '_ {
        let mut next = self.first;
        core::iter::from_fn(move || {
            let segment = next;
            next = self.slots.about(segment as usize)?.next;
            (!self.is_missing(segment)).then_some(segment as usize)
        })
    }

    /// The segment that the last removal has given back, if it has: what is kept beside its
    /// objects goes too. It need not be the segment of the object that was removed.
    pub(crate) fn take_gone(&mut self) -> Option<usize> {
        let gone = core::mem::replace(&mut self.gone, NONE);
        (gone != NONE).then_some(gone as usize)
    }

    pub(crate) fn insert(&mut self, value: T) -> Result<Id<K>, OutOfMemory> {
        if self.room == 0 {
            self.grow(1)?;
        }
        let (segment, at) = (self.first as usize, self.next_slot());
        let slot = u32::try_from(at).map_err(|_| OutOfMemory)?;
        let content = Content::Used(value);
        let mut generation = self.generation;
        let mut free = NONE;
        if let Some(slot) = self.slots.get_mut(at) {
            generation = slot.generation;
            if let Content::Free(next) = slot.content {
                free = next;
            }
            slot.content = content;
        } else {
            self.slots.push(
                segment,
                Slot {
                    generation,
                    content,
                },
            )?;
        }
        self.len = self.len.saturating_add(1);
        self.room = self.room.saturating_sub(1);
        if let Some(room) = self.slots.about_mut(segment) {
            room.free = free;
            room.used = room.used.saturating_add(1);
            if room.used as usize >= SEGMENT {
                self.unlink(self.first);
            }
        }
        Ok(Id::new(slot, generation))
    }

    pub(crate) fn get(&self, id: Id<K>) -> Option<&T> {
        look();
        match self.slots.get(id.slot as usize) {
            Some(Slot {
                generation,
                content: Content::Used(value),
            }) if *generation == id.generation => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, id: Id<K>) -> Option<&mut T> {
        look();
        match self.slots.get_mut(id.slot as usize) {
            Some(Slot {
                generation,
                content: Content::Used(value),
            }) if *generation == id.generation => Some(value),
            _ => None,
        }
    }

    /// The object in a slot, whatever its generation, with its id.
    pub(crate) fn at_slot(&self, slot: u32) -> Option<(Id<K>, &T)> {
        look();
        match self.slots.get(slot as usize) {
            Some(Slot {
                generation,
                content: Content::Used(value),
            }) => Some((Id::new(slot, *generation), value)),
            _ => None,
        }
    }

    /// Takes an object out.
    pub(crate) fn remove(&mut self, id: Id<K>) -> Option<T> {
        match self.vacate(id, core::mem::replace)? {
            Content::Used(value) => Some(value),
            Content::Free(_) => None,
        }
    }

    /// Removes an object of which only what `take` gives is wanted. The rest is dropped where it
    /// is: to move a large object out costs more than to remove it.
    pub(crate) fn remove_with<R>(
        &mut self,
        id: Id<K>,
        take: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        self.vacate(id, |content, free| {
            let taken = match content {
                Content::Used(value) => Some(take(value)),
                Content::Free(_) => None,
            };
            *content = free;
            taken
        })?
    }

    /// Frees the slot of an object. `empty` is to put the second of its arguments in place of
    /// the first.
    fn vacate<R>(
        &mut self,
        id: Id<K>,
        empty: impl FnOnce(&mut Content<T>, Content<T>) -> R,
    ) -> Option<R> {
        let segment = segment_of(id.slot);
        let free = self.slots.about(segment)?.free;
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation != id.generation || matches!(slot.content, Content::Free(_)) {
            return None;
        }
        let emptied = empty(&mut slot.content, Content::Free(free));
        // Wrapping past 0 would make the bits of an id all zero.
        slot.generation = slot.generation.checked_add(1).unwrap_or(1);
        self.len = self.len.saturating_sub(1);
        self.room = self.room.saturating_add(1);
        if let Some(room) = self.slots.about_mut(segment) {
            room.free = id.slot;
            let was_full = room.used as usize >= SEGMENT;
            room.used = room.used.saturating_sub(1);
            let used = room.used;
            // It cuts nothing off: the segment of a slot is below 2^32.
            let segment = segment as u32;
            if was_full {
                self.link_front(segment);
            }
            if used == 0 && segment != 0 {
                self.keep_or_give_back(segment);
            }
        }
        Some(emptied)
    }

    /// The last object of a segment has gone. One empty segment is kept, so that an insert and
    /// a removal in turn ask for no memory; of two the one behind goes back.
    fn keep_or_give_back(&mut self, segment: u32) {
        let other = core::mem::replace(&mut self.kept, segment);
        let is_empty = |room: &Room| room.used == 0;
        if other == segment || !self.slots.about(other as usize).is_some_and(is_empty) {
            return;
        }
        self.kept = other.min(segment);
        let goes = other.max(segment);
        let highest = self.slots.elements(goes as usize).iter();
        let highest = highest.map(|slot| slot.generation).max();
        self.generation = self.generation.max(highest.unwrap_or(1));
        self.slots.give_back(goes as usize);
        self.gone = goes;
        self.room = self.room.saturating_sub(SEGMENT);
        self.unlink(goes);
        if let Some(room) = self.slots.about_mut(goes as usize) {
            *room = Room::default();
        }
        self.link_back(goes);
        while self.slots.last_if_missing().is_some() {
            // As above: a segment's number.
            self.unlink((self.slots.len() as u32).saturating_sub(1));
            self.slots.pop();
        }
    }

    /// All objects in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id<K>, &T)> {
        self.slots.iter().filter_map(|(at, slot)| {
            look();
            if let Content::Used(value) = &slot.content {
                Some((Id::new(u32::try_from(at).ok()?, slot.generation), value))
            } else {
                None
            }
        })
    }
}
