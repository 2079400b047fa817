// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Which steps wait for what, so that a host wakes only those whose condition can
//! have changed.
//!
//! A step that cannot go on says what it waits for, its *topic*; a step that changes
//! something of a topic says that, too. Each topic has a *queue* and a *number*, which mean
//! nothing to the host. After a step that cannot go on the host lets the caller sleep in the queue;
//! after a step that has changed something it wakes those in the queue who wait for the number. Sessions and files share queues by their
//! slots, but not numbers. Where a step has changed more topics than it can name, it names the
//! queues alone: then a wake-up may come for nothing, but never fails to come.

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

/// How many topics of shared queues a step can name.
const NAMED: usize = 4;

/// Something that steps wait for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Topic {
    /// The transition that is under way ends.
    Transition,
    /// The last operation under way ends.
    Idle,
    /// The handover of the previous kernel has been read, or has not.
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
    const fn spot(self) -> Spot {
        let (queue, topic) = match self {
            Self::Transition => (1, 0),
            Self::Idle => (2, 0),
            Self::Takeover => (3, 0),
            Self::Flbs => (4, 0),
            Self::Session(id) => (shared(id.slot), number(0, id.to_bits())),
            // The numbers of slots begin at 0 for sessions and for files. The distance keeps
            // the first file out of the queue of the first session.
            Self::File(id) => (
                shared(id.slot.wrapping_add(SHARED / 2)),
                number(1, id.to_bits()),
            ),
            // The number of its page, of which the low bits will do.
            Self::Note(address) => (shared((address >> 12) as u32), number(2, address)),
        };
        Spot { queue, topic }
    }
}

/// The queue of a slot. It is below 64, so nothing is cut off.
const fn shared(slot: u32) -> u8 {
    FIRST_SHARED.wrapping_add(slot.wrapping_rem(SHARED)) as u8
}

/// The number of a topic of a kind. That two topics had one would do no harm.
const fn number(kind: u64, of: u64) -> u64 {
    (of << 2) | kind
}

/// Where somebody sleeps: a queue, and what is waited for there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    queue: u8,
    topic: u64,
}

impl Spot {
    const ANY: Self = Self {
        queue: ANY,
        topic: 0,
    };

    /// The queue.
    #[must_use]
    pub const fn queue(self) -> usize {
        self.queue as usize
    }

    /// The number of what is waited for in it.
    #[must_use]
    pub const fn topic(self) -> u64 {
        self.topic
    }

    /// Whether the step has said what it waits for. If it has not, each step wakes it.
    #[must_use]
    pub const fn is_named(self) -> bool {
        self.queue != ANY
    }
}

/// The waiters to wake: all of a queue, or those who wait for one topic there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// The queue.
    pub queue: usize,
    /// The number of the topic; `None` if all are meant.
    pub topic: Option<u64>,
}

impl Wake {
    /// Whether it concerns who sleeps at a spot.
    #[must_use]
    pub fn concerns(self, spot: Spot) -> bool {
        self.queue == spot.queue() && self.topic.is_none_or(|topic| topic == spot.topic)
    }
}

/// The waits and wake-ups that the step which runs has asked for.
pub(crate) struct Waits {
    /// Where what it waits for is. In a cell, so that steps which only look can wait.
    at: Cell<Spot>,
    /// Whether a step has said that it has to wait since the host last said that nobody waits.
    /// Most often none has, and then nothing is to be told of what others wait for.
    some_wait: Cell<bool>,
    woken: Woken,
}

impl Waits {
    pub(crate) const fn new() -> Self {
        Self {
            at: Cell::new(Spot::ANY),
            some_wait: Cell::new(false),
            woken: Woken::NOBODY,
        }
    }

    /// The step that runs has to wait for a topic.
    pub(crate) fn pend<R>(&self, topic: Topic) -> Poll<R> {
        self.at.set(topic.spot());
        self.some_wait.set(true);
        Poll::Pending
    }

    /// Those who wait for a topic may go on.
    #[inline]
    pub(crate) fn wake(&mut self, topic: Topic) {
        if self.some_wait.get() {
            self.wake_some(topic);
        }
    }

    #[cold]
    fn wake_some(&mut self, topic: Topic) {
        self.woken.add(topic.spot());
    }

    pub(crate) fn take_spot(&self) -> Spot {
        self.at.replace(Spot::ANY)
    }

    pub(crate) fn take_woken(&mut self) -> Woken {
        self.at.set(Spot::ANY);
        let mut woken = core::mem::replace(&mut self.woken, Woken::NOBODY);
        woken.queues |= bit(ANY);
        woken
    }

    #[inline]
    pub(crate) fn forget_woken(&mut self) {
        if self.some_wait.replace(false) {
            self.at.set(Spot::ANY);
            self.woken = Woken::NOBODY;
        }
    }
}

/// The bit of a queue.
const fn bit(queue: u8) -> u64 {
    // A queue is below 64, so nothing is cut off.
    1u64.wrapping_shl(queue as u32)
}

/// The waiters that one or several steps have woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "those who wait there would wait for ever"]
pub struct Woken {
    /// Queues of which all are woken, a bit for each.
    queues: u64,
    /// Spots in shared queues.
    spots: [Spot; NAMED],
    /// How many of them.
    count: usize,
}

impl Woken {
    /// Nobody yet.
    pub const NOBODY: Self = Self {
        queues: 0,
        spots: [Spot::ANY; NAMED],
        count: 0,
    };

    /// Whether anybody is among them who has said what is waited for. Most steps wake nobody else.
    #[must_use]
    pub const fn names_some(&self) -> bool {
        self.count > 0 || self.queues & !bit(ANY) != 0
    }

    fn add(&mut self, spot: Spot) {
        let is_shared = u32::from(spot.queue) >= FIRST_SHARED;
        let named = self.spots.get(..self.count).unwrap_or_default();
        if !is_shared {
            self.queues |= bit(spot.queue);
        } else if named.contains(&spot) {
            // It is among them.
        } else if let Some(free) = self.spots.get_mut(self.count) {
            *free = spot;
            self.count = self.count.saturating_add(1);
        } else {
            self.queues |= bit(spot.queue);
        }
    }

    /// Those whom another step has woken are woken as well.
    pub fn merge(&mut self, other: Self) {
        self.queues |= other.queues;
        for &spot in other.spots.iter().take(other.count) {
            self.add(spot);
        }
    }
}

impl Iterator for Woken {
    type Item = Wake;

    fn next(&mut self) -> Option<Wake> {
        let first = self.queues.trailing_zeros();
        if first < u64::BITS {
            self.queues &= !bit(first as u8);
            return Some(Wake {
                queue: first as usize,
                topic: None,
            });
        }
        self.count = self.count.checked_sub(1)?;
        let spot = self.spots.get(self.count)?;
        Some(Wake {
            queue: spot.queue(),
            topic: Some(spot.topic),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use std::vec::Vec;

    fn session(slot: u32) -> Topic {
        Topic::Session(Id::new(slot, 1))
    }

    #[test]
    fn each_topic_has_a_queue() {
        let sessions = (0..1000).map(session);
        let files = (0..1000).map(|slot| Topic::File(Id::new(slot, 1)));
        let shared = sessions.chain(files).map(|topic| topic.spot().queue);
        assert!(shared.clone().all(|queue| queue >= FIRST_SHARED as u8));
        assert_eq!(shared.max(), Some(QUEUES as u8 - 1));
    }

    #[test]
    fn topics_that_share_a_queue_have_numbers_of_their_own() {
        let [one, other] = [session(3), session(3 + SHARED)].map(Topic::spot);
        assert_eq!(one.queue, other.queue);
        let mut waits = Waits::new();
        assert!(waits.pend::<()>(session(3)).is_pending());
        waits.wake(session(3));
        let woken: Vec<_> = waits.take_woken().collect();
        assert!(woken.iter().any(|wake| wake.concerns(one)));
        assert!(!woken.iter().any(|wake| wake.concerns(other)));
        // Neither does a file of the same slot.
        let file = Topic::File(Id::new((3 + SHARED - SHARED / 2) % SHARED, 1)).spot();
        assert_eq!(file.queue, one.queue);
        assert!(!woken.iter().any(|wake| wake.concerns(file)));
    }

    /// All waiters that are woken are named, however many they are.
    #[test]
    fn more_than_can_be_named_are_woken_all_the_same() {
        for count in 0..20 {
            let mut waits = Waits::new();
            assert!(waits.pend::<()>(session(0)).is_pending());
            let mut all = Woken::NOBODY;
            for slot in 0..count {
                waits.wake(session(slot * 7));
                waits.wake(session(slot * 7));
                if slot % 3 == 0 {
                    all.merge(waits.take_woken());
                }
            }
            all.merge(waits.take_woken());
            let woken: Vec<_> = all.collect();
            for slot in 0..count {
                let spot = session(slot * 7).spot();
                assert!(woken.iter().any(|wake| wake.concerns(spot)));
            }
            let exact = woken.iter().filter(|wake| wake.topic.is_some()).count();
            assert_eq!(exact, NAMED.min(count as usize));
        }
    }

    #[test]
    fn what_was_woken_is_told_once() {
        let mut waits = Waits::new();
        assert!(waits.pend::<()>(Topic::Idle).is_pending());
        let queue = |waits: &Waits| waits.take_spot().queue();
        assert_eq!((queue(&waits), queue(&waits)), (2, 0));
        waits.wake(Topic::Transition);
        waits.wake(Topic::Flbs);
        assert!(waits.woken.names_some());
        let queues = |woken: Woken| woken.map(|wake| wake.queue).collect::<Vec<_>>();
        assert_eq!(queues(waits.take_woken()), [0, 1, 4]);
        assert_eq!(queues(waits.take_woken()), [0]);
        waits.wake(session(1));
        waits.forget_woken();
        assert_eq!(queues(waits.take_woken()), [0]);
        // As long as nobody waits, nobody is woken.
        waits.wake(session(1));
        let woken = waits.take_woken();
        assert!(!woken.names_some());
        assert_eq!(queues(woken), [0]);
        assert!(waits.pend::<()>(session(1)).is_pending());
        assert!(waits.take_spot().is_named() && !waits.take_spot().is_named());
        waits.wake(session(1));
        assert!(waits.take_woken().names_some());
    }
}
