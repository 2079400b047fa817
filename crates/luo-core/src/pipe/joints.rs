// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Pipes of which an end is preserved: which ends belong together. The engine keeps them, so
//! each function is one step under its lock; what takes long is done without it, with the
//! [`Work`] taken out.
//!
//! ```text
//! join      an end is preserved: it joins the other, or begins
//! take      the pipe is looked into without the lock
//! put       what was seen is there
//! freeze    the note tells of the end
//! leave     the end is not preserved any more
//! ```
//!
//! Ends belong together if they are in one session. Of different owners each goes alone, as if
//! the other had not been preserved: who has the one would have to trust who has the other.

use luo_abi::errno::Errno;
use luo_abi::handover::BLOCK_SIZE;
use luo_abi::note::{Pipe, PACKETS, READ_END};

use super::contents::{most_pages, Contents};
use super::ends::{End, Facts, PAUSES};
use crate::engine::Engine;
use crate::error::Error;
use crate::handover::block::BlockMemory;
use crate::host::{Host, Subject};
use crate::id::{kind, FileId, Id, SessionId};
use crate::note;
use crate::table::index::Index;
use crate::table::slab::Slab;

/// The pipes of an engine.
pub(crate) struct Joints<B> {
    all: Slab<kind::Pipe, Joint<B>>,
    /// By the pipe; there are two at most of one.
    by_pipe: Index,
    patience: Patience,
}

/// How many pauses pipes may take in a transition still.
///
/// A pipe that somebody has locked gets half of what is left: one that is held for ever leaves
/// something for those behind it. What users hold takes nothing of what the administrator's
/// pipes may take.
#[derive(Clone, Copy)]
struct Patience {
    users: u32,
    administrators: u32,
}

impl Patience {
    const FULL: Self = Self {
        users: PAUSES,
        administrators: PAUSES,
    };

    fn of(&mut self, is_users: bool) -> &mut u32 {
        match is_users {
            true => &mut self.users,
            false => &mut self.administrators,
        }
    }

    fn take_half(&mut self, is_users: bool) -> u32 {
        let left = self.of(is_users);
        let half = left.div_ceil(2);
        *left = left.saturating_sub(half);
        half
    }

    fn give_back(&mut self, is_users: bool, unused: u32) {
        let left = self.of(is_users);
        *left = left.saturating_add(unused).min(PAUSES);
    }
}

/// A pipe that is preserved.
pub(super) struct Joint<B> {
    pipe: u64,
    /// The user whose session it is; none is the administrator.
    user: Option<u32>,
    session: SessionId,
    /// [`READ_END`] and the other: those that are preserved.
    ends: u64,
    /// The same of those that are frozen.
    frozen: u64,
    /// The file of the end that is read from, which counts for what the pipe holds.
    reader: Option<FileId>,
    /// What is known of the pipe; of the flags those that are about no end's coming along.
    seen: Pipe,
    /// The address of the note.
    address: u64,
    /// None while somebody has it.
    work: Option<Work<B>>,
}

/// What is written for a pipe.
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
    in_transition: bool,
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
            seen: Pipe {
                flags: 0,
                slots: 0,
                bytes: 0,
                records: 0,
                pages: 0,
                first: 0,
            },
            address: page.address(),
            work: Some(Work {
                page,
                contents: Contents::new(),
            }),
        }
    }

    /// An end joins; gives its handle.
    fn join(&mut self, end: End, of: &Subject) -> u64 {
        self.ends |= end.bits().0;
        if end == End::Read {
            self.reader = Some(of.file);
        }
        self.address | end.bit()
    }

    /// Writes the note, as far as the pipe is frozen.
    fn write(&mut self) {
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

    fn see(&mut self, end: End, facts: &Facts) {
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
        // What it holds fits into the size that it had then.
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
            patience: Patience::FULL,
        }
    }

    /// A transition begins.
    pub(crate) fn renew_patience(&mut self) {
        self.patience = Patience::FULL;
    }

    /// How many there are.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    fn find(
        &self,
        hash: u32,
        pipe: u64,
        is_meant: impl Fn(&Joint<B>) -> bool,
    ) -> Option<Id<kind::Pipe>> {
        let is_it = |joint: &Joint<B>| joint.pipe == pipe && is_meant(joint);
        let slot = self.by_pipe.find(hash, |slot| {
            self.all
                .at_slot(slot)
                .is_some_and(|(_, joint)| is_it(joint))
        })?;
        self.all.at_slot(slot).map(|(id, _)| id)
    }
}

/// What goes with an end, to be dropped without the lock: all of the pipe, or what it holds.
pub(super) type Left<B> = (Option<Joint<B>>, Option<Contents<B>>);

impl<H: Host> Engine<H> {
    fn pipe_hash(&self, pipe: u64) -> u32 {
        self.hash.of_words(&[pipe])
    }

    /// The pipe of a preserved end.
    fn joint(&mut self, pipe: u64, end: End) -> Option<&mut Joint<H::Block>> {
        let own = end.bits().0;
        let hash = self.pipe_hash(pipe);
        let id = self
            .joints
            .find(hash, pipe, |joint| joint.ends & own != 0)?;
        self.joints.all.get_mut(id)
    }

    /// An end is preserved that may belong to one that is already; gives its handle then.
    ///
    /// # Errors
    /// EBUSY if the other end is in another session of the same owner's: both would come back
    /// without the other, which is not what somebody wants who has both.
    pub(super) fn join_pipe(
        &mut self,
        pipe: u64,
        end: End,
        of: &Subject,
    ) -> Result<Option<u64>, Error> {
        let user = self.user_of(of)?;
        let hash = self.pipe_hash(pipe);
        let found = self.joints.find(hash, pipe, |joint| joint.user == user);
        let Some(joint) = found.and_then(|id| self.joints.all.get_mut(id)) else {
            return Ok(None);
        };
        if joint.session != of.session || joint.ends & end.bits().0 != 0 {
            return Err(Errno::EBUSY.into());
        }
        Ok(Some(joint.join(end, of)))
    }

    /// [`Self::join_pipe`], or begins with what is given; gives the handle.
    ///
    /// # Errors
    /// As there; [`Error::NoMemory`]: it can be tried again.
    pub(super) fn begin_pipe(
        &mut self,
        given: &mut Option<Joint<H::Block>>,
        end: End,
        of: &Subject,
    ) -> Result<u64, Error> {
        let pipe = given.as_ref().map(|joint| joint.pipe);
        let pipe = pipe.ok_or(Error::Inconsistent)?;
        if let Some(handle) = self.join_pipe(pipe, end, of)? {
            return Ok(handle);
        }
        let user = self.user_of(of)?;
        let hash = self.pipe_hash(pipe);
        let joints = &mut self.joints;
        joints.all.reserve(1)?;
        joints.by_pipe.reserve_at(joints.all.last_with_next())?;
        let mut joint = given.take().ok_or(Error::Inconsistent)?;
        (joint.user, joint.session) = (user, of.session);
        let handle = joint.join(end, of);
        let id = joints.all.insert(joint)?;
        joints.by_pipe.insert_reserved(hash, id.slot)?;
        Ok(handle)
    }

    fn user_of(&self, of: &Subject) -> Result<Option<u32>, Error> {
        let session = self.sessions.get(of.session).ok_or(Error::NoSession)?;
        Ok(session.owner.user())
    }

    /// Takes what is written for a pipe, to look into it without the lock.
    ///
    /// # Errors
    /// EBUSY if somebody has it.
    pub(super) fn take_work(
        &mut self,
        pipe: u64,
        end: End,
        in_transition: bool,
    ) -> Result<Taken<H::Block>, Errno> {
        let joint = self.joint(pipe, end).ok_or(Errno::EIO)?;
        let work = joint.work.take().ok_or(Errno::EBUSY)?;
        let (reader, is_users) = (joint.reader, joint.user.is_some());
        let patience = match in_transition {
            true => self.joints.patience.take_half(is_users),
            false => PAUSES,
        };
        Ok(Taken {
            work,
            reader,
            patience,
            in_transition,
        })
    }

    /// Puts back what [`Self::take_work`] has given: with what was seen, if anything was. Gives
    /// back what nobody wants any more.
    pub(super) fn put_work(
        &mut self,
        pipe: u64,
        end: End,
        taken: Taken<H::Block>,
        seen: Option<(Facts, Pipe)>,
    ) -> Option<Work<H::Block>> {
        let Some(joint) = self.joint(pipe, end) else {
            return Some(taken.work);
        };
        let is_users = joint.user.is_some();
        joint.work = Some(taken.work);
        let held = seen.map_or((0, 0, 0, 0), |(_, pipe)| {
            (pipe.bytes, pipe.records, pipe.pages, pipe.first)
        });
        let all = &mut joint.seen;
        (all.bytes, all.records, all.pages, all.first) = held;
        if let Some((facts, _)) = seen {
            joint.see(end, &facts);
        }
        joint.write();
        if taken.in_transition {
            let unused = taken.patience;
            self.joints.patience.give_back(is_users, unused);
        }
        None
    }

    /// What is known of the end that is written to.
    pub(super) fn see_writer(&mut self, pipe: u64, facts: &Facts) {
        if let Some(joint) = self.joint(pipe, End::Write) {
            joint.see(End::Write, facts);
            joint.write();
        }
    }

    /// From here on the note tells of an end, or does not.
    pub(super) fn set_end_frozen(&mut self, pipe: u64, end: End, frozen: bool) {
        if let Some(joint) = self.joint(pipe, end) {
            let (own, _) = end.bits();
            joint.frozen &= !own;
            joint.frozen |= if frozen { own } else { 0 };
            joint.write();
        }
    }

    /// An end is not preserved any more; gives what goes with it.
    pub(super) fn leave_pipe(&mut self, pipe: u64, end: End) -> Option<Left<H::Block>> {
        let (own, _) = end.bits();
        let hash = self.pipe_hash(pipe);
        let id = self
            .joints
            .find(hash, pipe, |joint| joint.ends & own != 0)?;
        let joint = self.joints.all.get_mut(id)?;
        joint.ends &= !own;
        joint.frozen &= !own;
        if joint.ends == 0 {
            self.joints.by_pipe.remove(id.slot);
            let joint = self.joints.all.remove(id);
            if let Some(segment) = self.joints.all.take_gone() {
                self.joints.by_pipe.give_back(segment);
            }
            return Some((joint, None));
        }
        joint.write();
        if end == End::Write {
            return None;
        }
        joint.reader = None;
        let work = joint.work.as_mut()?;
        let contents = core::mem::take(&mut work.contents);
        Some((None, Some(contents)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many are held for ever, the wait has an end, and each of the first few gets
    /// some of it.
    #[test]
    fn patience_has_an_end_and_is_shared() {
        let mut patience = Patience::FULL;
        let taken: std::vec::Vec<u32> = (0..1000).map(|_| patience.take_half(true)).collect();
        assert_eq!(taken.iter().sum::<u32>(), PAUSES);
        assert_eq!(taken[..9], [100, 50, 25, 13, 6, 3, 2, 1, 0]);
        // Nobody else's.
        assert_eq!(patience.take_half(false), 100);
        patience.give_back(false, 100);
        patience.give_back(false, 100);
        assert_eq!(patience.take_half(false), 100);
    }
}
