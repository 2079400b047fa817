// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Arrays that grow without moving what is in them.
//!
//! An array that is one piece is copied when it grows, however large it is, and goes back
//! to the allocator as a whole or not at all. These consist of segments of the same
//! number of elements. To grow takes one more segment, charged to whoever needs it; one
//! that is not needed is given back. Only the first segment is grown by copies, so that a
//! few elements take little room, and the directory: a bounded amount each. The first
//! segment is not in the directory: a table that has no more asks for memory once.

use crate::mem::{OutOfMemory, Vec};

/// Elements of a segment.
pub(crate) const SEGMENT: usize = 128;

struct Segment<T, M> {
    elements: Vec<T>,
    about: M,
}

impl<T, M: Default> Segment<T, M> {
    fn missing() -> Self {
        Self {
            elements: Vec::new(),
            about: M::default(),
        }
    }
}

/// The segments, each with an `M` that says something about it. One may be missing: it has
/// no elements and no room then.
pub(crate) struct Segments<T, M = ()> {
    /// `None` if there is no segment at all.
    first: Option<Segment<T, M>>,
    /// Those behind the first.
    directory: Vec<Segment<T, M>>,
}

impl<T, M: Default> Segments<T, M> {
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            directory: Vec::new(),
        }
    }

    /// How many segments there are, with those that are missing between others.
    pub(crate) fn len(&self) -> usize {
        match self.first {
            None => 0,
            Some(_) => self.directory.len().saturating_add(1),
        }
    }

    fn segment(&self, number: usize) -> Option<&Segment<T, M>> {
        match number.checked_sub(1) {
            None => self.first.as_ref(),
            Some(behind) => self.directory.get(behind),
        }
    }

    fn segment_mut(&mut self, number: usize) -> Option<&mut Segment<T, M>> {
        match number.checked_sub(1) {
            None => self.first.as_mut(),
            Some(behind) => self.directory.get_mut(behind),
        }
    }

    fn segments(&self) -> impl Iterator<Item = &Segment<T, M>> {
        self.first.iter().chain(self.directory.iter())
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.segment(at / SEGMENT)?.elements.get(at % SEGMENT)
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        let segment = self.segment_mut(at / SEGMENT)?;
        segment.elements.get_mut(at % SEGMENT)
    }

    /// The note kept with a segment.
    pub(crate) fn about(&self, segment: usize) -> Option<&M> {
        Some(&self.segment(segment)?.about)
    }

    pub(crate) fn about_mut(&mut self, segment: usize) -> Option<&mut M> {
        Some(&mut self.segment_mut(segment)?.about)
    }

    /// The elements of a segment; none if it is missing.
    pub(crate) fn elements(&self, segment: usize) -> &[T] {
        let segment = self.segment(segment);
        segment.map_or(&[], |segment| &segment.elements)
    }

    /// How many elements more a segment takes without asking for memory.
    pub(crate) fn spare(&self, segment: usize) -> usize {
        let segment = self.segment(segment);
        let elements = segment.map(|segment| &segment.elements);
        elements.map_or(0, |elements| {
            elements.spare().min(SEGMENT.saturating_sub(elements.len()))
        })
    }

    /// Makes room for `additional` elements more in a segment, or for as many as it takes
    /// altogether: a segment behind the first has room for all at once.
    pub(crate) fn reserve(&mut self, segment: usize, additional: usize) -> Result<(), OutOfMemory> {
        self.first.get_or_insert_with(Segment::missing);
        while self.len() <= segment {
            self.directory.push(Segment::missing())?;
        }
        let Some(Segment { elements, .. }) = self.segment_mut(segment) else {
            return Err(OutOfMemory);
        };
        let left = SEGMENT.saturating_sub(elements.len());
        let wanted = if segment == 0 { additional } else { left };
        elements.reserve(wanted.min(left))
    }

    /// Makes room for the element `at`.
    pub(crate) fn reserve_at(&mut self, at: usize) -> Result<(), OutOfMemory> {
        let (number, place) = (at / SEGMENT, at % SEGMENT);
        let mut there = 0;
        if let Some(Segment { elements, .. }) = self.segment(number) {
            there = elements.len();
            if place < there.saturating_add(elements.spare()) {
                return Ok(());
            }
        }
        self.reserve(number, place.saturating_add(1).saturating_sub(there))
    }

    /// Appends an element to a segment.
    pub(crate) fn push(&mut self, segment: usize, element: T) -> Result<(), OutOfMemory> {
        if self.spare(segment) == 0 {
            self.reserve(segment, 1)?;
        }
        let segment = self.segment_mut(segment).ok_or(OutOfMemory)?;
        segment.elements.push(element)
    }

    /// Makes the elements of a segment up to `at`, those that are not there yet as `fill`
    /// says.
    pub(crate) fn extend_to(
        &mut self,
        at: usize,
        mut fill: impl FnMut() -> T,
    ) -> Result<&mut T, OutOfMemory> {
        self.reserve_at(at)?;
        let segment = self.segment_mut(at / SEGMENT).ok_or(OutOfMemory)?;
        while segment.elements.len() <= at % SEGMENT {
            segment.elements.push(fill())?;
        }
        segment.elements.get_mut(at % SEGMENT).ok_or(OutOfMemory)
    }

    /// Gives a segment back. What is in it is dropped.
    pub(crate) fn give_back(&mut self, segment: usize) {
        if let Some(segment) = self.segment_mut(segment) {
            segment.elements = Vec::new();
        }
    }

    /// The note kept with the last segment, if its room is missing.
    pub(crate) fn last_if_missing(&self) -> Option<&M> {
        let last = self.directory.last().or(self.first.as_ref())?;
        (last.elements.is_empty() && last.elements.spare() == 0).then_some(&last.about)
    }

    /// Forgets the last segment, which is missing.
    pub(crate) fn pop(&mut self) {
        if self.directory.pop().is_none() {
            self.first = None;
        }
        self.directory.shrink();
    }

    /// Gives a segment back, and forgets those at the end that are missing.
    pub(crate) fn give_back_and_trim(&mut self, segment: usize) {
        self.give_back(segment);
        while self.last_if_missing().is_some() {
            self.pop();
        }
    }

    /// All elements, with their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.segments().enumerate().flat_map(|(number, segment)| {
            let first = number.saturating_mul(SEGMENT);
            let elements = segment.elements.iter().enumerate();
            elements.map(move |(at, element)| (first.saturating_add(at), element))
        })
    }

    /// Elements of the first segment and room in it: when a small machine asks for memory
    /// next.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn shape(&self) -> [usize; 2] {
        let first = self.first.as_ref();
        first.map_or([0; 2], |segment| segment.elements.shape())
    }

    /// Elements there is room for in all.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.segments()
            .map(|segment| segment.elements.len() + segment.elements.spare())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stay_where_they_are() {
        let mut all: Segments<usize> = Segments::new();
        for at in 0..10 * SEGMENT {
            *all.extend_to(at, || 0).unwrap() = at;
        }
        assert!(all.iter().all(|(at, &element)| at == element));
        let places: std::vec::Vec<_> = all
            .iter()
            .skip(SEGMENT)
            .map(|(_, at)| at as *const _)
            .collect();
        *all.extend_to(100 * SEGMENT, || 7).unwrap() = 1;
        let after = all.iter().skip(SEGMENT).map(|(_, at)| at as *const _);
        assert!(after.take(places.len()).eq(places.iter().copied()));
        assert_eq!(all.get(50 * SEGMENT), None);
        assert!(all.room() <= 12 * SEGMENT);
    }

    #[test]
    fn room_is_given_back() {
        let mut all: Segments<u8> = Segments::new();
        for at in 0..100 * SEGMENT {
            all.extend_to(at, || 1).unwrap();
        }
        for segment in 1..99 {
            all.give_back_and_trim(segment);
        }
        assert_eq!((all.len(), all.room()), (100, 2 * SEGMENT));
        all.give_back_and_trim(99);
        assert_eq!((all.len(), all.room()), (1, SEGMENT));
    }

    #[test]
    fn a_few_take_little_room() {
        let mut all: Segments<u8> = Segments::new();
        all.push(0, 1).unwrap();
        assert!(all.room() <= 16);
    }
}
