// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Values that are kept beside the objects of a slab, by their slots.

use crate::looks::look;
use crate::mem::OutOfMemory;
use crate::table::segments::{Segments, SEGMENT};

/// Values by the slots of a slab's objects, in segments that come and go with its own.
pub(crate) struct Beside<T> {
    values: Segments<Option<T>>,
}

impl<T> Beside<T> {
    pub(crate) const fn new() -> Self {
        Self {
            values: Segments::new(),
        }
    }

    /// Room for values: how many there are depends on the order in which objects went, and
    /// decides nothing.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn shape(&self) -> [usize; 2] {
        let [_, room] = self.values.shape();
        [0, room]
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        look();
        self.values.get(slot as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        look();
        self.values.get_mut(slot as usize)?.as_mut()
    }

    /// Makes sure that a value for a slot asks for no memory.
    pub(crate) fn reserve_at(&mut self, slot: usize) -> Result<(), OutOfMemory> {
        self.values.reserve_at(slot)
    }

    /// [`Self::reserve_at`] for all slots of a segment.
    pub(crate) fn reserve_segment(&mut self, segment: usize) -> Result<(), OutOfMemory> {
        reserve_segment(&mut self.values, segment)
    }

    pub(crate) fn set(&mut self, slot: u32, value: T) -> Result<(), OutOfMemory> {
        *self.values.extend_to(slot as usize, || None)? = Some(value);
        Ok(())
    }

    /// Forgets the value for a slot.
    pub(crate) fn clear(&mut self, slot: u32) {
        // `set` would move a whole value that is none.
        if let Some(value) = self.values.get_mut(slot as usize) {
            *value = None;
        }
    }

    /// Gives back the room beside a segment that the slab has given back.
    pub(crate) fn give_back(&mut self, segment: usize) {
        self.values.give_back_and_trim(segment);
    }
}

/// Makes room for all elements of a segment.
pub(crate) fn reserve_segment<T>(
    values: &mut Segments<T>,
    segment: usize,
) -> Result<(), OutOfMemory> {
    let last = segment
        .saturating_mul(SEGMENT)
        .saturating_add(SEGMENT)
        .saturating_sub(1);
    values.reserve_at(last)
}
