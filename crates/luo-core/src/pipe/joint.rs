// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! A pipe of which an end is preserved, and the list of all such pipes. The steps with them are in
//! `joints`.

use luo_abi::handover::BLOCK_SIZE;
use luo_abi::note::{Pipe, PACKETS, READ_END};

use super::contents::{most_pages, Contents, EMPTY};
use super::ends::{End, Facts};
use crate::handover::block::BlockMemory;
use crate::host::Subject;
use crate::id::{of, FileId, Id, SessionId};
use crate::note;
use crate::table::index::Index;
use crate::table::slab::Slab;

/// The pipes of an engine.
pub(crate) struct Joints<B> {
    pub(super) all: Slab<of::Pipe, Joint<B>>,
    /// By the pipe; there are two at most of one.
    pub(super) by_pipe: Index,
}

/// A pipe that is preserved.
pub(super) struct Joint<B> {
    pub(super) pipe: u64,
    /// The user whose session it is; none is the administrator.
    pub(super) user: Option<u32>,
    pub(super) session: SessionId,
    /// [`READ_END`] and the other: those that are preserved.
    pub(super) ends: u64,
    /// The same of those that are frozen.
    pub(super) frozen: u64,
    /// The file of the end that is read from, which counts for what the pipe holds.
    pub(super) reader: Option<FileId>,
    /// The facts of the pipe; of its flags those that are about no end's coming along.
    pub(super) seen: Pipe,
    /// The address of the note.
    pub(super) address: u64,
    /// None while somebody has it.
    pub(super) work: Option<Work<B>>,
}

/// The pages that are written for a pipe.
pub(super) struct Work<B> {
    pub(super) page: B,
    pub(super) contents: Contents<B>,
}

/// Somebody looks into a pipe.
pub(super) struct Taken<B> {
    pub(super) work: Work<B>,
    /// The file that counts for what it holds.
    pub(super) reader: Option<FileId>,
    /// Pauses that may be waited for it.
    pub(super) patience: u32,
    /// Whether a transition looks: what it does not wait is for others.
    pub(super) in_transition: bool,
}

/// Bytes that the end which is read from counts for: what a pipe of that size may hold, and the
/// note.
pub(super) const fn bytes_of(slots: u64) -> u64 {
    most_pages(slots)
        .saturating_add(1)
        .saturating_mul(BLOCK_SIZE as u64)
}

impl<B: BlockMemory> Joint<B> {
    /// One that nothing is known of yet.
    pub(super) fn new(pipe: u64, page: B) -> Self {
        Self {
            pipe,
            user: None,
            session: SessionId::new(0, 0),
            ends: 0,
            frozen: 0,
            reader: None,
            seen: EMPTY,
            address: page.address(),
            work: Some(Work {
                page,
                contents: Contents::new(),
            }),
        }
    }

    /// An end joins; gives its handle.
    pub(super) fn join(&mut self, end: End, of: &Subject) -> u64 {
        self.ends |= end.bits().0;
        if end == End::Read {
            self.reader = Some(of.file);
        }
        self.address | end.bit()
    }

    /// Writes the note, as far as the pipe is frozen.
    pub(super) fn write(&mut self) {
        let mut told = self.seen;
        told.flags |= self.frozen;
        if self.frozen & READ_END == 0 {
            // Nobody reads it: who has the other end had no right to.
            (told.bytes, told.records, told.pages, told.first) = (0, 0, 0, 0);
        }
        if let Some(work) = &mut self.work {
            note::write(work.page.bytes(), &told);
        }
    }

    pub(super) fn see(&mut self, end: End, facts: &Facts) {
        let (_, nonblock) = end.bits();
        let mut set = |flag: u64, is_set: bool| {
            self.seen.flags &= !flag;
            self.seen.flags |= if is_set { flag } else { 0 };
        };
        set(nonblock, facts.nonblock);
        // Only the end that writes knows.
        if end == End::Write {
            set(PACKETS, facts.packets);
        }
        // Its contents fit into the size that it had then.
        if end == End::Read || self.frozen & READ_END == 0 {
            self.seen.slots = facts.slots;
        }
    }
}

impl<B> Joints<B> {
    pub(crate) const fn new() -> Self {
        Self {
            all: Slab::new(),
            by_pipe: Index::new(),
        }
    }

    /// How many there are.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn find(
        &self,
        hash: u32,
        pipe: u64,
        is_meant: impl Fn(&Joint<B>) -> bool,
    ) -> Option<Id<of::Pipe>> {
        let is_it = |joint: &Joint<B>| joint.pipe == pipe && is_meant(joint);
        let slot = self.by_pipe.find(hash, |slot| {
            self.all
                .at_slot(slot)
                .is_some_and(|(_, joint)| is_it(joint))
        })?;
        self.all.at_slot(slot).map(|(id, _)| id)
    }
}

/// The things that go with an end, to be dropped without the lock: all of the pipe, or its
/// contents.
pub(super) type Left<B> = (Option<Joint<B>>, Option<Contents<B>>);
