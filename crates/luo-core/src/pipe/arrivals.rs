// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Pipes that come back. The first call that asks for one end makes the pipe, and keeps the other
//! end for the call that asks for that. The engine keeps them; each function is one step under its
//! lock.
//!
//! | state of a note | a call that asks for an end | a call that gives an end up |
//! |---|---|---|
//! | no call has asked | makes the pipe | frees the note |
//! | another call makes the pipe | waits | leaves it to that call to close the end |
//! | the end is kept | gets it | closes it |

use core::task::Poll;

use luo_abi::errno::Errno;

use super::arrival::{Arrival, Claim, Stage};
use super::ends::End;
use crate::engine::Engine;
use crate::error::Error;
use crate::host::Host;
use crate::waits::Topic;

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

    /// The call that restored from a note, or gave it up, has ended: with an end that is kept for who asks for it, or without one.
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
