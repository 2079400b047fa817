// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Pipes of which an end is preserved: which ends belong together. The engine keeps them, so
//! each function is one step under its lock; work that takes long is done without the lock, with
//! the [`Work`] taken out.
//!
//! ```text
//! join      an end is preserved: it joins the other, or begins
//! take      the pipe is looked into without the lock
//! put       the work is put back, with what was seen
//! freeze    the note tells of the end
//! leave     the end is not preserved any more
//! ```
//!
//! Ends belong together if they are in one session. Ends of different owners go alone, each as if
//! the other had not been preserved: otherwise the owner of one would have to trust that of the
//! other.

use luo_abi::errno::Errno;
use luo_abi::note::Pipe;

use super::ends::{End, Facts};
use super::joint::{Joint, Left, Taken, Work};
use crate::engine::Engine;
use crate::error::Error;
use crate::host::{Host, Subject};
use crate::patience::{Files, PAUSES};

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
        // A call that freezes a session takes nothing of the pauses of a transition.
        let session = joint.session;
        let in_transition = in_transition && !self.early(session).is_under_way();
        let patience = match in_transition {
            true => self.patiences.take_half(Files::Pipes, is_users),
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
            self.patiences.give_back(Files::Pipes, is_users, unused);
        }
        None
    }

    /// Takes down the facts of the end that is written to.
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
