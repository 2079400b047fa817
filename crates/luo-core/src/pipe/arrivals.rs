// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Pipes that come back: who asks for one end has the pipe made, and the other end is kept for
//! who asks for it. The engine keeps them; each function is one step under its lock.
//!
//! | of a note | who asks for an end | who gives one up |
//! |---|---|---|
//! | nobody has asked | makes the pipe | frees the note |
//! | somebody is at it | waits | that one closes the end |
//! | the end is kept | gets it | closes it |

use core::task::Poll;

use luo_abi::errno::Errno;

use super::ends::End;
use crate::engine::Engine;
use crate::error::Error;
use crate::host::Host;
use crate::id::{kind, Id};
use crate::table::index::Index;
use crate::table::slab::Slab;
use crate::waits::Topic;

/// The pipes that come back to an engine.
pub(crate) struct Arrivals<F> {
    all: Slab<kind::Arrival, Arrival<F>>,
    /// By the address of the note.
    by_address: Index,
}

struct Arrival<F> {
    /// Of the note that both ends come from.
    address: u64,
    stage: Stage<F>,
}

enum Stage<F> {
    /// Somebody makes the pipe, or frees the note.
    Working {
        /// An end that nobody wants any more.
        unwanted: Option<End>,
    },
    /// The pipe is made and the note is gone; nobody has asked for this end.
    Kept(End, F),
}

/// What becomes of who asks for an end.
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

    fn find(&self, hash: u32, address: u64) -> Option<Id<kind::Arrival>> {
        let slot = self.by_address.find(hash, |slot| {
            let arrival = self.all.at_slot(slot);
            arrival.is_some_and(|(_, arrival)| arrival.address == address)
        })?;
        self.all.at_slot(slot).map(|(id, _)| id)
    }

    fn remove(&mut self, id: Id<kind::Arrival>) -> Option<Arrival<F>> {
        self.by_address.remove(id.slot);
        let gone = self.all.remove(id);
        if let Some(segment) = self.all.take_gone() {
            self.by_address.give_back(segment);
        }
        gone
    }

    fn take_kept(&mut self, id: Id<kind::Arrival>, end: End) -> Option<F> {
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

impl<H: Host> Engine<H> {
    /// Somebody asks for an end. It waits for who makes the pipe; a transition does not.
    ///
    /// # Errors
    /// [`Error::NoMemory`]: it can be tried again. EBUSY in a transition.
    pub(super) fn claim_pipe(
        &mut self,
        address: u64,
        end: End,
        waits: bool,
    ) -> Poll<Result<Claim<H::File>, Error>> {
        let hash = self.hash.of_words(&[address]);
        let Some(id) = self.arrivals.find(hash, address) else {
            return Poll::Ready(self.begin_arrival(hash, address).map(|()| Claim::Work));
        };
        if let Some(file) = self.arrivals.take_kept(id, end) {
            return Poll::Ready(Ok(Claim::Kept(file)));
        }
        let stage = self.arrivals.all.get(id).map(|arrival| &arrival.stage);
        match stage {
            Some(Stage::Working { .. }) if waits => self.update.waits.pend(Topic::Note(address)),
            Some(Stage::Working { .. }) => Poll::Ready(Err(Errno::EBUSY.into())),
            Some(Stage::Kept(..)) | None => Poll::Ready(Ok(Claim::Gone)),
        }
    }

    /// An end is given up that nobody has asked for.
    ///
    /// # Errors
    /// [`Error::NoMemory`]: it can be tried again.
    pub(super) fn give_up_end(&mut self, address: u64, end: End) -> Result<Claim<H::File>, Error> {
        let hash = self.hash.of_words(&[address]);
        let Some(id) = self.arrivals.find(hash, address) else {
            return self.begin_arrival(hash, address).map(|()| Claim::Work);
        };
        if let Some(file) = self.arrivals.take_kept(id, end) {
            return Ok(Claim::Kept(file));
        }
        let arrival = self.arrivals.all.get_mut(id);
        if let Some(Stage::Working { unwanted }) = arrival.map(|arrival| &mut arrival.stage) {
            *unwanted = Some(end);
        }
        Ok(Claim::Gone)
    }

    fn begin_arrival(&mut self, hash: u32, address: u64) -> Result<(), Error> {
        let arrivals = &mut self.arrivals;
        arrivals.all.reserve(1)?;
        let last = arrivals.all.last_with_next();
        arrivals.by_address.reserve_at(last)?;
        let stage = Stage::Working { unwanted: None };
        let id = arrivals.all.insert(Arrival { address, stage })?;
        Ok(arrivals.by_address.insert_reserved(hash, id.slot)?)
    }

    /// Who was at a note is done: with an end that is kept for who asks for it, or without one.
    /// Gives back one that nobody wants.
    pub(super) fn end_arrival(
        &mut self,
        address: u64,
        kept: Option<(End, H::File)>,
    ) -> Option<H::File> {
        self.update.waits.wake(Topic::Note(address));
        let hash = self.hash.of_words(&[address]);
        let id = self.arrivals.find(hash, address);
        let arrival = id.and_then(|id| self.arrivals.all.get_mut(id));
        let gone = match (arrival.map(|arrival| &mut arrival.stage), kept) {
            (Some(stage), Some((end, file))) => match stage {
                Stage::Working { unwanted } if *unwanted != Some(end) => {
                    *stage = Stage::Kept(end, file);
                    return None;
                }
                _ => Some(file),
            },
            (_, kept) => kept.map(|(_, file)| file),
        };
        if let Some(id) = id {
            self.arrivals.remove(id);
        }
        gone
    }
}
