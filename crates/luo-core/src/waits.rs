// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Which steps wait for what, so that a host wakes only those whose condition can
//! have changed.
//!
//! A step that cannot go on says what it waits for, its *topic*; a step that changes
//! something of a topic says that, too. Each topic has a *queue*, a number that means
//! nothing to the host: it lets the caller of the one sleep there, and wakes that
//! queue after the other. Sessions and files share queues by their slots, so a wake-up
//! may come for nothing, but never fails to come.

use core::cell::Cell;
use core::task::Poll;

use crate::id::{FileId, SessionId};

/// How many queues there are.
pub const QUEUES: usize = 64;

/// The queue of steps that did not say what they wait for, which is a safety net: each
/// step that ends wakes it. Queues 1 to 4 are in [`Topic::queue`].
const ANY: u8 = 0;
/// The first of the queues that sessions and files share.
const FIRST_SHARED: u32 = 5;
const SHARED: u32 = QUEUES as u32 - FIRST_SHARED;

/// Something that steps wait for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Topic {
    /// The transition that is under way ends.
    Transition,
    /// The last operation under way ends.
    Idle,
    /// What the previous kernel left has been read, or has not.
    Takeover,
    /// A callback of an FLB returns.
    Flbs,
    /// The session is unlocked, or the last operation on one of its files has ended.
    Session(SessionId),
    /// The handler has restored the file, or has failed.
    File(FileId),
    /// The call that restores from a pipe's note, or gives it up, has ended; by the note's address.
    Note(u64),
}

impl Topic {
    const fn queue(self) -> u8 {
        match self {
            Self::Transition => 1,
            Self::Idle => 2,
            Self::Takeover => 3,
            Self::Flbs => 4,
            Self::Session(id) => shared(id.slot),
            // The numbers of slots begin at 0 for sessions and for files. The distance keeps
            // the first file out of the queue of the first session.
            Self::File(id) => shared(id.slot.wrapping_add(SHARED / 2)),
            // The number of its page, of which the low bits will do.
            Self::Note(address) => shared((address >> 12) as u32),
        }
    }
}

/// The queue of a slot. It is below 64, so nothing is cut off.
const fn shared(slot: u32) -> u8 {
    FIRST_SHARED.wrapping_add(slot.wrapping_rem(SHARED)) as u8
}

/// What the step that runs has said.
pub(crate) struct Waits {
    /// The queue of what it waits for. In a cell, so that steps which only look can wait.
    at: Cell<u8>,
    /// The queues of what it has changed, a bit for each.
    woken: u64,
}

impl Waits {
    pub(crate) const fn new() -> Self {
        Self {
            at: Cell::new(ANY),
            woken: 0,
        }
    }

    /// The step that runs has to wait for a topic.
    pub(crate) fn pend<R>(&self, topic: Topic) -> Poll<R> {
        self.at.set(topic.queue());
        Poll::Pending
    }

    /// Those who wait for a topic may go on.
    pub(crate) fn wake(&mut self, topic: Topic) {
        self.woken |= bit(topic.queue().into());
    }

    pub(crate) fn take_queue(&self) -> usize {
        self.at.replace(ANY).into()
    }

    pub(crate) fn take_woken(&mut self) -> Woken {
        self.at.set(ANY);
        Woken(core::mem::take(&mut self.woken) | bit(ANY.into()))
    }
}

/// The bit of a queue.
const fn bit(queue: usize) -> u64 {
    // A queue is below 64, so nothing is cut off.
    1u64.wrapping_shl(queue as u32)
}

/// The queues that a step has woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "those who wait there would wait for ever"]
pub struct Woken(u64);

impl Woken {
    /// Whether a queue is among them.
    #[must_use]
    pub const fn contains(self, queue: usize) -> bool {
        queue < QUEUES && self.0 & bit(queue) != 0
    }
}

impl Iterator for Woken {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let first = self.0.trailing_zeros();
        if first >= u64::BITS {
            return None;
        }
        self.0 &= !bit(first as usize);
        Some(first as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use std::vec::Vec;

    #[test]
    fn each_topic_has_a_queue() {
        let sessions = (0..1000).map(|slot| Topic::Session(Id::new(slot, 1)));
        let files = (0..1000).map(|slot| Topic::File(Id::new(slot, 1)));
        let shared = sessions.chain(files).map(Topic::queue);
        assert!(shared.clone().all(|queue| queue >= FIRST_SHARED as u8));
        assert_eq!(shared.max(), Some(QUEUES as u8 - 1));
    }

    #[test]
    fn what_was_woken_is_told_once() {
        let mut waits = Waits::new();
        assert!(waits.pend::<()>(Topic::Idle).is_pending());
        assert_eq!((waits.take_queue(), waits.take_queue()), (2, 0));
        waits.wake(Topic::Transition);
        waits.wake(Topic::Flbs);
        assert_eq!(waits.take_woken().collect::<Vec<_>>(), [0, 1, 4]);
        assert_eq!(waits.take_woken().collect::<Vec<_>>(), [0]);
        assert!(Woken(0b11).contains(1) && !Woken(0b11).contains(2));
    }
}
