// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Objects that keep their place: look-up by id in constant time.

use crate::id::Id;
use crate::mem::{OutOfMemory, Vec};

/// No slot; also the bound on how many slots there can be.
const NONE: u32 = u32::MAX;

enum Content<T> {
    Used(T),
    /// A free slot, and the next one in the chain of free slots.
    Free(u32),
}

struct Slot<T> {
    generation: u32,
    content: Content<T>,
}

/// Objects of kind `K`, each in a slot that is used again once it is free.
pub(crate) struct Slab<K, T> {
    slots: Vec<Slot<T>>,
    first_free: u32,
    len: usize,
    kind: core::marker::PhantomData<fn() -> K>,
}

impl<K, T> Slab<K, T> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            first_free: NONE,
            len: 0,
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

    /// Makes sure that `additional` inserts in a row ask for no memory.
    pub(crate) fn reserve(&mut self, additional: usize) -> Result<(), OutOfMemory> {
        let free = self.slots.len().saturating_sub(self.len);
        self.slots.reserve(additional.saturating_sub(free))
    }

    /// How many slots there are at most after `additional` more inserts.
    pub(crate) fn slots_after(&self, additional: usize) -> usize {
        let free = self.slots.len().saturating_sub(self.len);
        let more = additional.saturating_sub(free);
        self.slots.len().saturating_add(more)
    }

    pub(crate) fn insert(&mut self, value: T) -> Result<Id<K>, OutOfMemory> {
        let content = Content::Used(value);
        let id = if let Some(slot) = self.slots.get_mut(self.first_free as usize) {
            let id = Id::new(self.first_free, slot.generation);
            if let Content::Free(next) = slot.content {
                self.first_free = next;
            }
            slot.content = content;
            id
        } else {
            let at = u32::try_from(self.slots.len()).map_err(|_| OutOfMemory)?;
            if at == NONE {
                return Err(OutOfMemory);
            }
            self.slots.push(Slot {
                generation: 1,
                content,
            })?;
            Id::new(at, 1)
        };
        self.len = self.len.saturating_add(1);
        Ok(id)
    }

    pub(crate) fn get(&self, id: Id<K>) -> Option<&T> {
        match self.slots.get(id.slot as usize) {
            Some(Slot {
                generation,
                content: Content::Used(value),
            }) if *generation == id.generation => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, id: Id<K>) -> Option<&mut T> {
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
        match self.slots.get(slot as usize) {
            Some(Slot {
                generation,
                content: Content::Used(value),
            }) => Some((Id::new(slot, *generation), value)),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, id: Id<K>) -> Option<T> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation != id.generation || matches!(slot.content, Content::Free(_)) {
            return None;
        }
        let content = core::mem::replace(&mut slot.content, Content::Free(self.first_free));
        self.first_free = id.slot;
        // Wrapping past 0 would make the bits of an id all zero.
        slot.generation = slot.generation.checked_add(1).unwrap_or(1);
        self.len = self.len.saturating_sub(1);
        match content {
            Content::Used(value) => Some(value),
            Content::Free(_) => None,
        }
    }

    /// All objects in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id<K>, &T)> {
        self.slots.iter().zip(0u32..).filter_map(|(slot, at)| {
            if let Content::Used(value) = &slot.content {
                Some((Id::new(at, slot.generation), value))
            } else {
                None
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::kind;

    #[test]
    fn a_stale_id_names_nothing() {
        let mut slab: Slab<kind::File, &str> = Slab::new();
        let first = slab.insert("first").unwrap();
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second").unwrap();
        assert_eq!(first.slot, second.slot);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
        assert_eq!(slab.len(), 1);
        assert_ne!(second.to_bits(), 0);
        assert_eq!(Id::from_bits(second.to_bits()), second);
    }
}
