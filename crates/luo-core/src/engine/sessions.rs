// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Sessions by name.

use super::Engine;
use crate::error::Error;
use crate::handover::block::Chain;
use crate::host::Host;
use crate::id::SessionId;
use crate::session::{Direction, Early, FileChain, Session, SessionKind};
use crate::text::SessionName;
use crate::waits::Topic;

impl<H: Host> Engine<H> {
    fn name_hash(&self, direction: Direction, name: &SessionName) -> u32 {
        self.hash.of_room(direction as u64, name.room())
    }

    pub(crate) fn find_session(
        &self,
        direction: Direction,
        name: &SessionName,
    ) -> Option<SessionId> {
        let hash = self.name_hash(direction, name);
        let slot = self.names.find(hash, |slot| {
            self.sessions.at_slot(slot).is_some_and(|(_, session)| {
                session.direction() == direction && session.name == *name
            })
        })?;
        self.sessions.at_slot(slot).map(|(id, _)| id)
    }

    /// Adds an outgoing session whose name is not in use.
    pub(crate) fn add_session(&mut self, kind: SessionKind) -> Result<SessionId, Error> {
        let hash = self.name_hash(Direction::Outgoing, &kind.name);
        self.add_session_hashed(kind, Direction::Outgoing, hash)
    }

    /// [`Self::add_session`] for a caller who knows the hash of the name.
    pub(crate) fn add_session_hashed(
        &mut self,
        kind: SessionKind,
        direction: Direction,
        hash: u32,
    ) -> Result<SessionId, Error> {
        #[cfg(feature = "fault-injection")]
        crate::mem::fault::adds_session()?;
        self.sessions.reserve(1)?;
        self.names.reserve_at(self.sessions.last_with_next())?;
        // Behind it nothing fails: an account without a session would stay.
        let account = self.account_for(kind.owner)?;
        let made = self.update.round();
        let session = Session::new(kind, account, direction, made);
        let id = self.sessions.insert(session)?;
        self.names.insert(hash, id.slot)?;
        self.enlist(id, direction);
        let mut list = *self.list(direction);
        list.push_back(&mut self.sessions, id);
        *self.list_mut(direction) = list;
        match direction {
            Direction::Incoming => {
                self.unclaimed = self.unclaimed.saturating_add(1);
                if let Some(account) = account.and_then(|id| self.accounts.get_mut(id)) {
                    account.unfinished = account.unfinished.saturating_add(1);
                    account.unclaimed = account.unclaimed.saturating_add(1);
                }
                if kind.closed {
                    self.set_closed_pending(id);
                }
            }
            Direction::Outgoing if kind.has_record() => {
                self.records = self.records.saturating_add(1);
            }
            Direction::Outgoing => {}
        }
        Ok(id)
    }

    /// Notes that an incoming session is finished: nothing of it is left but
    /// perhaps its descriptor.
    pub(crate) fn set_finished(&mut self, id: SessionId) {
        let session = self.sessions.get_mut(id);
        if let Some(incoming) = session.and_then(Session::incoming_mut) {
            if !core::mem::replace(&mut incoming.finished, true) {
                self.incoming.unlink(&mut self.sessions, id);
                self.finished.push_back(&mut self.sessions, id);
                self.count_one_finished(id);
                let session = self.sessions.get(id);
                if session.is_some_and(Session::arrived_on_device) {
                    self.of_device.unlink(&mut self.sessions, id);
                }
            }
        }
    }

    /// One less of a user's incoming sessions is unfinished.
    fn count_one_finished(&mut self, id: SessionId) {
        let account = self.sessions.get(id).and_then(|session| session.account);
        if let Some(account) = account.and_then(|id| self.accounts.get_mut(id)) {
            account.unfinished = account.unfinished.saturating_sub(1);
        }
    }

    /// Takes a session out that has no files left. Gives its pages for the files' records: all that
    /// is to be dropped without the lock.
    pub(crate) fn remove_session(&mut self, id: SessionId) -> Option<FileChain<H>> {
        let direction = self.sessions.get(id).map(Session::direction)?;
        // No longer counted as waiting to be finished, nor as frozen, whatever it was.
        self.set_locked(id, true);
        self.set_early(id, Early::Not);
        self.update.waits.wake(Topic::Session(id));
        if direction == Direction::Outgoing {
            let has_record = self.sessions.get(id).is_some_and(|s| s.kind().has_record());
            self.records = self.records.saturating_sub(has_record.into());
        }
        self.names.remove(id.slot);
        let is_finished = self.sessions.get(id).is_some_and(Session::is_finished);
        let list = match (direction, is_finished) {
            (Direction::Outgoing, _) => &mut self.outgoing,
            (Direction::Incoming, false) => &mut self.incoming,
            (Direction::Incoming, true) => &mut self.finished,
        };
        list.unlink(&mut self.sessions, id);
        if direction == Direction::Incoming && !is_finished {
            self.count_one_finished(id);
        }
        self.delist_closed(id);
        self.delist(id, direction);
        let take_pages = |session: &mut Session<H>| {
            let outgoing = session.outgoing_mut()?;
            Some(core::mem::replace(&mut outgoing.chain, Chain::new()))
        };
        let pages = self.sessions.remove_with(id, take_pages);
        if let Some(segment) = self.sessions.take_gone() {
            self.names.give_back(segment);
        }
        pages?
    }
}
