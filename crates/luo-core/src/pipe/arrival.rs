// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! A pipe that comes back, and the list of all such pipes. The steps with them are in `arrivals`.

use super::ends::End;
use crate::id::{of, Id};
use crate::table::index::Index;
use crate::table::slab::Slab;

/// The pipes that come back to an engine.
pub(crate) struct Arrivals<F> {
    pub(super) all: Slab<of::Arrival, Arrival<F>>,
    /// By the address of the note.
    pub(super) by_address: Index,
}

/// A pipe that comes back.
pub(super) struct Arrival<F> {
    /// Of the note that both ends come from.
    pub(super) address: u64,
    pub(super) stage: Stage<F>,
}

/// How far it is.
pub(super) enum Stage<F> {
    /// Somebody makes the pipe, or frees the note.
    Working {
        /// An end that nobody wants any more.
        unwanted: Option<End>,
    },
    /// The pipe is made and the note is gone; nobody has asked for this end.
    Kept(End, F),
}

/// The answer to a call that asks for an end.
pub(super) enum Claim<F> {
    /// It was kept.
    Kept(F),
    /// The caller is at the note from here on, and says when that is over.
    Work,
    /// The note is gone, or who is at it closes the end.
    Gone,
}

impl<F> Arrivals<F> {
    pub(crate) const fn new() -> Self {
        Self {
            all: Slab::new(),
            by_address: Index::new(),
        }
    }

    /// How many there are.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn find(&self, hash: u32, address: u64) -> Option<Id<of::Arrival>> {
        let slot = self.by_address.find(hash, |slot| {
            let arrival = self.all.at_slot(slot);
            arrival.is_some_and(|(_, arrival)| arrival.address == address)
        })?;
        self.all.at_slot(slot).map(|(id, _)| id)
    }

    pub(super) fn remove(&mut self, id: Id<of::Arrival>) -> Option<Arrival<F>> {
        self.by_address.remove(id.slot);
        let gone = self.all.remove(id);
        if let Some(segment) = self.all.take_gone() {
            self.by_address.give_back(segment);
        }
        gone
    }

    pub(super) fn take_kept(&mut self, id: Id<of::Arrival>, end: End) -> Option<F> {
        match self.all.get(id)?.stage {
            Stage::Kept(kept, _) if kept == end => {}
            _ => return None,
        }
        match self.remove(id)?.stage {
            Stage::Kept(_, file) => Some(file),
            Stage::Working { .. } => None,
        }
    }
}
