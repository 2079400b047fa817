// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The state that all operations share.
//!
//! Nothing here calls back into the host. The steps that operations are made of
//! are in the files named after them; this one holds the state, the two ways to
//! begin (`enter` for one file, `claim_session` for a whole session), and the
//! freezing that both respect.
//!
//! ```text
//! Normal --freeze begins--> Freezing --all handlers agree--> Frozen ==kexec==>
//!    ^                          |                               |
//!    |<------- a veto ----------'                               |
//!    '<------- the kexec did not happen ------------------------'
//! ```
//!
//! What arrives in Freezing waits for the outcome; what arrives in Frozen gets
//! [`Error::Frozen`].

use core::task::Poll;

use crate::error::Error;
use crate::flb;
use crate::handover::Handover;
use crate::hash::Hash;
use crate::host::Host;
use crate::id::{kind, FileId, SessionId};
use crate::index::Index;
use crate::list::List;
use crate::mem::Vec;
use crate::registry::{Flb, Handler};
use crate::session::{Direction, File, Session, SessionChain, State};
use crate::slab::Slab;
use crate::text::SessionName;

/// Where the machine is on its way to the next kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Sessions can be made and changed.
    Normal,
    /// Handlers are being asked; others wait.
    Freezing,
    /// Everything is written down; only undoing the freeze leads back.
    Frozen,
}

/// The engine. A host keeps one, under its lock.
pub struct Engine<H: Host> {
    pub(crate) phase: Phase,
    /// Operations under way that run callbacks; a freeze waits for none.
    pub(crate) busy: usize,

    pub(crate) handlers: Slab<kind::Handler, Handler<H>>,
    /// Counts registrations, to tell whether looking for a handler again is
    /// worth it.
    pub(crate) registrations: u64,
    pub(crate) flbs: Slab<kind::Flb, Flb<H>>,
    pub(crate) arrived_flbs: Vec<flb::Arrived<H>>,

    pub(crate) sessions: Slab<kind::Session, Session<H>>,
    pub(crate) outgoing: List<kind::Session>,
    pub(crate) incoming: List<kind::Session>,
    /// Incoming sessions that were closed without being finished.
    pub(crate) pending_finishes: usize,
    pub(crate) files: Slab<kind::File, File<H>>,

    pub(crate) hash: Hash,
    /// Sessions by direction and name.
    pub(crate) names: Index,
    /// Files by session and token.
    pub(crate) tokens: Index,
    /// Files by the object they stand for.
    pub(crate) objects: Index,

    /// Pages for the outgoing sessions' records.
    pub(crate) chain: SessionChain<H>,
    /// The pages of the outgoing root and FLBs, once the host has given them.
    pub(crate) root: Option<H::Block>,
    pub(crate) flb_page: Option<H::Block>,
    pub(crate) handover: Handover,
    /// Live updates so far in the chain of kernels.
    pub(crate) update_number: u64,
}

impl<H: Host> Engine<H> {
    /// An engine without sessions or handlers. `seed` is a secret of the host:
    /// random numbers that no client can guess.
    #[must_use]
    pub const fn new(seed: (u64, u64)) -> Self {
        Self {
            phase: Phase::Normal,
            busy: 0,
            handlers: Slab::new(),
            registrations: 0,
            flbs: Slab::new(),
            arrived_flbs: Vec::new(),
            sessions: Slab::new(),
            outgoing: List::new(),
            incoming: List::new(),
            pending_finishes: 0,
            files: Slab::new(),
            hash: Hash::new(seed),
            names: Index::new(),
            tokens: Index::new(),
            objects: Index::new(),
            chain: SessionChain::<H>::new(),
            root: None,
            flb_page: None,
            handover: Handover::Nothing,
            update_number: 0,
        }
    }

    /// Where the machine is on its way to the next kernel.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Live updates that brought the machine here, 0 after a cold boot.
    #[must_use]
    pub const fn update_number(&self) -> u64 {
        self.update_number
    }

    /// How many sessions there are of a direction.
    #[must_use]
    pub const fn session_count(&self, direction: Direction) -> usize {
        self.list(direction).len
    }

    /// How many files there are in all sessions.
    #[must_use]
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// A session's name and direction.
    #[must_use]
    pub fn session_info(&self, id: SessionId) -> Option<(SessionName, Direction)> {
        self.sessions
            .get(id)
            .map(|session| (session.name, session.direction))
    }

    pub(crate) const fn list(&self, direction: Direction) -> &List<kind::Session> {
        match direction {
            Direction::Outgoing => &self.outgoing,
            Direction::Incoming => &self.incoming,
        }
    }

    fn list_mut(&mut self, direction: Direction) -> &mut List<kind::Session> {
        match direction {
            Direction::Outgoing => &mut self.outgoing,
            Direction::Incoming => &mut self.incoming,
        }
    }

    // Beginning and ending operations.

    /// Whether state may change now: not while a freeze is under way or done.
    pub(crate) fn changeable(&self) -> Poll<Result<(), Error>> {
        match self.phase {
            Phase::Normal => Poll::Ready(Ok(())),
            Phase::Freezing => Poll::Pending,
            Phase::Frozen => Poll::Ready(Err(Error::Frozen)),
        }
    }

    /// The session, if an operation on one of its files may begin now.
    pub(crate) fn enter(
        &mut self,
        id: SessionId,
        direction: Direction,
    ) -> Poll<Result<&mut Session<H>, Error>> {
        core::task::ready!(self.changeable())?;
        match self.sessions.get_mut(id) {
            None => Poll::Ready(Err(Error::NoSession)),
            Some(session) if session.direction != direction => {
                Poll::Ready(Err(Error::WrongDirection))
            }
            Some(session) => match session.state {
                State::Exclusive => Poll::Pending,
                State::Unclaimed { .. } => Poll::Ready(Err(Error::NoSession)),
                State::Open | State::Claimed { .. } => Poll::Ready(Ok(session)),
            },
        }
    }

    pub(crate) fn mark_busy(&mut self, id: SessionId) {
        self.busy = self.busy.saturating_add(1);
        if let Some(session) = self.sessions.get_mut(id) {
            session.busy = session.busy.saturating_add(1);
        }
    }

    pub(crate) fn mark_idle(&mut self, id: SessionId) {
        self.busy = self.busy.saturating_sub(1);
        if let Some(session) = self.sessions.get_mut(id) {
            session.busy = session.busy.saturating_sub(1);
        }
    }

    /// Takes a whole session for an operation, waiting for those on its files.
    /// Answers with the state it was in.
    pub(crate) fn claim_session(&mut self, id: SessionId) -> Poll<Result<State, Error>> {
        core::task::ready!(self.changeable())?;
        let Some(session) = self.sessions.get_mut(id) else {
            return Poll::Ready(Err(Error::NoSession));
        };
        if session.busy > 0 || session.state == State::Exclusive {
            return Poll::Pending;
        }
        let before = session.state;
        self.set_state(id, State::Exclusive);
        self.mark_busy(id);
        Poll::Ready(Ok(before))
    }

    /// Gives a session back that [`Self::claim_session`] took.
    pub(crate) fn yield_session(&mut self, id: SessionId, state: State) {
        self.set_state(id, state);
        self.mark_idle(id);
    }

    /// Changes a session's state and keeps count of the unfinished.
    pub(crate) fn set_state(&mut self, id: SessionId, state: State) {
        if let Some(session) = self.sessions.get_mut(id) {
            let before = core::mem::replace(&mut session.state, state);
            if before == State::UNFINISHED {
                self.pending_finishes = self.pending_finishes.saturating_sub(1);
            }
            if state == State::UNFINISHED {
                self.pending_finishes = self.pending_finishes.saturating_add(1);
            }
        }
    }

    // Sessions by name.

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
            self.sessions
                .at_slot(slot)
                .is_some_and(|(_, session)| session.direction == direction && session.name == *name)
        })?;
        self.sessions.at_slot(slot).map(|(id, _)| id)
    }

    /// Adds a session whose name is not in use.
    pub(crate) fn add_session(
        &mut self,
        name: SessionName,
        direction: Direction,
    ) -> Result<SessionId, Error> {
        let hash = self.name_hash(direction, &name);
        self.add_session_hashed(name, direction, hash)
    }

    /// [`Self::add_session`] for a caller who knows the hash of the name.
    pub(crate) fn add_session_hashed(
        &mut self,
        name: SessionName,
        direction: Direction,
        hash: u32,
    ) -> Result<SessionId, Error> {
        self.names.reserve(1)?;
        let id = self.sessions.insert(Session::new(name, direction))?;
        self.names.insert(hash, id.slot)?;
        let mut list = *self.list(direction);
        list.push_back(&mut self.sessions, id);
        *self.list_mut(direction) = list;
        Ok(id)
    }

    /// Takes a session out that has no files left.
    pub(crate) fn remove_session(&mut self, id: SessionId) -> Option<Session<H>> {
        let (name, direction) = self.session_info(id)?;
        let hash = self.name_hash(direction, &name);
        self.names.remove(hash, id.slot);
        let mut list = *self.list(direction);
        list.unlink(&mut self.sessions, id);
        *self.list_mut(direction) = list;
        self.sessions.remove(id)
    }

    // Files by token and by object.

    fn token_hash(&self, session: SessionId, token: u64) -> u32 {
        self.hash.of_words(&[session.to_bits(), token])
    }

    pub(crate) fn find_file(&self, session: SessionId, token: u64) -> Option<FileId> {
        let hash = self.token_hash(session, token);
        let slot = self.tokens.find(hash, |slot| {
            self.files
                .at_slot(slot)
                .is_some_and(|(_, file)| file.session == session && file.token == token)
        })?;
        self.files.at_slot(slot).map(|(id, _)| id)
    }

    /// Adds a file whose token is not in use in its session.
    pub(crate) fn add_file(&mut self, file: File<H>) -> Result<FileId, Error> {
        let (session, token) = (file.session, file.token);
        let hash = self.token_hash(session, token);
        self.tokens.reserve(1)?;
        let id = self.files.insert(file)?;
        self.tokens.insert(hash, id.slot)?;
        if let Some(session) = self.sessions.get_mut(session) {
            session.files.push_back(&mut self.files, id);
        }
        Ok(id)
    }

    /// Takes a file out of everything that knows it. What it held is the
    /// caller's to drop, without the lock.
    pub(crate) fn remove_file(&mut self, id: FileId) -> Option<File<H>> {
        let (session, token) = self.files.get(id).map(|file| (file.session, file.token))?;
        self.unindex_object(id);
        let hash = self.token_hash(session, token);
        self.tokens.remove(hash, id.slot);
        if let Some(session) = self.sessions.get_mut(session) {
            session.files.unlink(&mut self.files, id);
        }
        let file = self.files.remove(id)?;
        if let Some(handler) = file.handler {
            self.release_handler(handler);
        }
        Some(file)
    }

    fn object_hash(&self, object: u64) -> u32 {
        self.hash.of_words(&[object])
    }

    fn is_object_indexed(&self, object: u64) -> bool {
        self.objects
            .find(self.object_hash(object), |slot| {
                self.files
                    .at_slot(slot)
                    .is_some_and(|(_, file)| file.object == Some(object))
            })
            .is_some()
    }

    /// Notes that a file stands for an object.
    ///
    /// # Errors
    /// [`Error::AlreadyPreserved`] if another file does, [`Error::NoMemory`].
    pub(crate) fn index_object(&mut self, id: FileId, object: u64) -> Result<(), Error> {
        if self.is_object_indexed(object) {
            return Err(Error::AlreadyPreserved);
        }
        let hash = self.object_hash(object);
        self.objects.insert(hash, id.slot)?;
        if let Some(file) = self.files.get_mut(id) {
            file.object = Some(object);
        }
        Ok(())
    }

    fn unindex_object(&mut self, id: FileId) {
        if let Some(object) = self.files.get_mut(id).and_then(|file| file.object.take()) {
            let hash = self.object_hash(object);
            self.objects.remove(hash, id.slot);
        }
    }

    // Walking the outgoing files in the order they were preserved in.

    /// The outgoing file behind `after`; the first one for `None`.
    pub(crate) fn following(&self, after: Option<FileId>) -> Option<FileId> {
        let mut session = match after.and_then(|id| self.files.get(id)) {
            None => self.outgoing.first,
            Some(file) => {
                if file.links.next.is_some() {
                    return file.links.next;
                }
                self.sessions
                    .get(file.session)
                    .and_then(|session| session.links.next)
            }
        };
        while let Some(current) = session.and_then(|id| self.sessions.get(id)) {
            if current.files.first.is_some() {
                return current.files.first;
            }
            session = current.links.next;
        }
        None
    }

    /// The outgoing file before `before`.
    pub(crate) fn preceding(&self, before: FileId) -> Option<FileId> {
        let file = self.files.get(before)?;
        if file.links.prev.is_some() {
            return file.links.prev;
        }
        let mut session = self.sessions.get(file.session)?.links.prev;
        while let Some(current) = session.and_then(|id| self.sessions.get(id)) {
            if current.files.last.is_some() {
                return current.files.last;
            }
            session = current.links.prev;
        }
        None
    }
}
