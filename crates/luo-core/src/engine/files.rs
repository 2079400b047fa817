// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Files by token and by object.

use super::Engine;
use crate::error::Error;
use crate::file_name::FileName;
use crate::graph::{Arranging, Budget, First, Graph};
use crate::host::Host;
use crate::id::{FileId, HandlerId, SessionId};
use crate::lock::Lock;
use crate::owner::Owner;
use crate::participant::handler::Handler;
use crate::quota::Quota;
use crate::session::{Arrived, Direction, File};
use crate::waits::Topic;

/// How the files of a session are gone through from the end.
#[derive(Clone, Copy)]
pub(crate) enum Backwards {
    /// No file needs another of the session, so list order holds.
    AsListed,
    /// In the order that their dependencies ask for.
    InOrder,
}

/// An order of files that is being made.
pub(crate) struct Ordering {
    arranging: Arranging,
    /// The first of those that are to be taken in still.
    next: Option<FileId>,
}

/// The last file of a session that the caller has for itself, and the way from there to its
/// first: dependents first, and else the last first.
pub(crate) fn backwards_in<H: Lock>(host: &H, session: SessionId) -> (Option<FileId>, Backwards) {
    let listed = host.now(|engine| engine.last_if_listed(session));
    listed.unwrap_or_else(|| (arrange_session(host, session), Backwards::InOrder))
}

/// Puts the files of a session that the caller has for itself in order, dependencies first, in
/// stretches; gives the last.
pub(crate) fn arrange_session<H: Lock>(host: &H, session: SessionId) -> Option<FileId> {
    order_session(host, session, First::Dependencies).last()
}

/// Puts the files of a session that the caller has for itself in order, in stretches.
pub(crate) fn order_session<H: Lock>(host: &H, session: SessionId, order: First) -> Ordering {
    let first = |engine: &Engine<H>| engine.sessions.get(session)?.files.first;
    let behind = |engine: &Engine<H>, id| engine.files.get(id)?.links.next;
    let mut ordering = host.now(|engine| engine.begin_ordering(first(engine), order));
    while !host.now(|engine| engine.go_on_ordering(&mut ordering, behind)) {}
    ordering
}

impl Ordering {
    /// The first file of it, once it is made.
    pub(crate) const fn first(&self) -> Option<FileId> {
        self.arranging.order().first
    }

    /// The last file of it, once it is made.
    pub(crate) const fn last(&self) -> Option<FileId> {
        self.arranging.order().last
    }
}

impl<H: Host> Engine<H> {
    pub(crate) fn token_hash(&self, session: SessionId, token: u64) -> u32 {
        self.hash.of_words(&[session.to_bits(), token])
    }

    pub(crate) fn find_file(&self, session: SessionId, token: u64) -> Option<FileId> {
        self.find_file_hashed(self.token_hash(session, token), session, token)
    }

    /// [`Self::find_file`] by the hash of both.
    pub(crate) fn find_file_hashed(
        &self,
        hash: u32,
        session: SessionId,
        token: u64,
    ) -> Option<FileId> {
        let slot = self.tokens.find(hash, |slot| {
            self.files
                .at_slot(slot)
                .is_some_and(|(_, file)| file.session == session && file.token == token)
        })?;
        self.files.at_slot(slot).map(|(id, _)| id)
    }

    fn device_token_hash(&self, token: u64) -> u32 {
        self.hash.of_words(&[token])
    }

    /// The file of a device session with a token.
    pub(crate) fn find_device_file(&self, direction: Direction, token: u64) -> Option<FileId> {
        let hash = self.device_token_hash(token);
        let slot = self.device_tokens.find(hash, |slot| {
            self.files.at_slot(slot).is_some_and(|(_, file)| {
                let session = self.sessions.get(file.session);
                file.token == token && session.is_some_and(|s| s.direction() == direction)
            })
        })?;
        self.files.at_slot(slot).map(|(id, _)| id)
    }

    /// The name of a file.
    pub(crate) fn file_name(&self, id: FileId) -> Option<FileName> {
        let file = self.files.get(id)?;
        let session = self.sessions.get(file.session)?;
        Some(FileName {
            session: session.name,
            token: file.token,
            of_device: session.owner == Owner::Device,
        })
    }

    /// Whether an outgoing file may change now: what took part in a prepare may not, nor what is
    /// frozen before the others.
    pub(crate) fn may_change_file(&self, id: FileId) -> Result<(), Error> {
        let session = self.files.get(id).map(|file| file.session);
        session.map_or(Ok(()), |id| self.may_change_session(id))?;
        let file = self.files.get(id).and_then(File::as_outgoing);
        let made = file.and_then(|file| file.made);
        made.map_or(Ok(()), |made| self.update.may_change(made))
    }

    /// Notes that one file less has this handler.
    pub(crate) fn release_handler(&mut self, id: HandlerId) {
        if let Some(handler) = self.handlers.get_mut(id) {
            handler.files = handler.files.saturating_sub(1);
        }
        self.drop_handler_if_unused(id);
    }

    pub(crate) fn drop_handler_if_unused(&mut self, id: HandlerId) {
        let unused = |handler: &Handler<H>| !handler.is_registered() && handler.files == 0;
        if self.handlers.get(id).is_some_and(unused) {
            self.handlers.remove(id);
        }
    }

    /// Whether a session is one of an open instance of the device, and where it
    /// goes.
    fn kind_of(&self, session: SessionId) -> Option<(Owner, Direction)> {
        let session = self.sessions.get(session)?;
        Some((session.owner, session.direction()))
    }

    /// Adds a file whose token is not in use in its session.
    pub(crate) fn add_file(&mut self, file: File<H>) -> Result<FileId, Error> {
        let hash = self.token_hash(file.session, file.token);
        self.add_file_hashed(file, hash)
    }

    /// [`Self::add_file`] with the hash of its session and token.
    pub(crate) fn add_file_hashed(&mut self, file: File<H>, hash: u32) -> Result<FileId, Error> {
        let (session, token) = (file.session, file.token);
        let (owner, direction) = self.kind_of(session).ok_or(Error::NoSession)?;
        self.files.reserve(1)?;
        let last = self.files.last_with_next();
        self.tokens.reserve_at(last)?;
        if owner == Owner::Device {
            self.device_tokens.reserve_at(last)?;
        }
        self.graph.reserve_node(&self.files)?;
        let id = self.files.insert(file)?;
        self.graph.add_node(id)?;
        self.tokens.insert(hash, id.slot)?;
        if owner == Owner::Device {
            let hash = self.device_token_hash(token);
            self.device_tokens.insert(hash, id.slot)?;
        }
        if let Some(session) = self.sessions.get_mut(session) {
            session.files.push_back(&mut self.files, id);
        }
        self.charge(session, |used| used.files = used.files.saturating_add(1));
        match (direction, owner) {
            (Direction::Outgoing, _) => self.records = self.records.saturating_add(1),
            (Direction::Incoming, Owner::Device) => {
                self.files_of_device = self.files_of_device.saturating_add(1);
            }
            (Direction::Incoming, _) => {}
        }
        Ok(id)
    }

    /// Takes a file out of everything that knows it. What it held is the
    /// caller's to drop, without the lock.
    pub(crate) fn remove_file(&mut self, id: FileId) -> Option<File<H>> {
        self.detach_file(id)?;
        let file = self.files.remove(id);
        self.give_back_room();
        file
    }

    /// [`Self::remove_file`] of a file of the previous kernel, of which that is all that it can
    /// hold: a whole file is large.
    pub(crate) fn remove_arrived(&mut self, id: FileId) -> Option<Arrived<H>> {
        self.detach_file(id)?;
        let take = |file: &mut File<H>| file.as_incoming_mut()?.arrived.take();
        let arrived = self.files.remove_with(id, take);
        self.give_back_room();
        arrived?
    }

    /// Takes a file out of everything that knows it but its own table.
    fn detach_file(&mut self, id: FileId) -> Option<()> {
        let file = self.files.get(id)?;
        let (session, handler) = (file.session, file.handler);
        // Those who need it will miss it under its name.
        let needed = self.graph.dependent_count(id) > 0;
        let name = if needed { self.file_name(id) } else { None };
        let (owner, direction) = self.kind_of(session)?;
        self.unindex_object(id);
        if direction == Direction::Incoming {
            if self.closed_pending > 0 {
                self.want_retries_of_needed(id);
            }
            // Whoever waits for the session to get the file can go on: it is gone.
            self.update.waits.wake(Topic::Session(session));
        }
        let edges = self.graph.edge_count();
        self.graph.remove_node(id, name);
        // Its dependencies go too.
        let gone = edges.saturating_sub(self.graph.edge_count());
        if gone > 0 {
            self.count_dependencies(session, |count| count.saturating_sub(gone));
        }
        self.set_bytes(id, 0);
        match (direction, owner) {
            (Direction::Outgoing, _) => {
                // Its own record and those.
                self.records = self.records.saturating_sub(gone.saturating_add(1));
            }
            (Direction::Incoming, Owner::Device) => {
                self.files_of_device = self.files_of_device.saturating_sub(1);
            }
            (Direction::Incoming, _) => {}
        }
        self.tokens.remove(id.slot);
        if owner == Owner::Device {
            self.device_tokens.remove(id.slot);
        }
        if let Some(session) = self.sessions.get_mut(session) {
            session.files.unlink(&mut self.files, id);
        }
        self.charge(session, |used| used.files = used.files.saturating_sub(1));
        if let Some(handler) = handler {
            self.release_handler(handler);
        }
        Some(())
    }

    /// Gives back the room of what is kept beside the files, with the files' own.
    fn give_back_room(&mut self) {
        if let Some(segment) = self.files.take_gone() {
            self.graph.give_back_room(segment);
            for index in [&mut self.tokens, &mut self.objects, &mut self.device_tokens] {
                index.give_back(segment);
            }
        }
    }

    fn object_hash(&self, object: u64) -> u32 {
        self.hash.of_words(&[object])
    }

    /// The file that stands for an object.
    pub(crate) fn file_of_object(&self, object: u64) -> Option<FileId> {
        self.file_of_hashed(self.object_hash(object), object)
    }

    fn file_of_hashed(&self, hash: u32, object: u64) -> Option<FileId> {
        let slot = self.objects.find(hash, |slot| {
            self.files
                .at_slot(slot)
                .is_some_and(|(_, file)| file.object == Some(object))
        })?;
        self.files.at_slot(slot).map(|(id, _)| id)
    }

    /// Notes that a file stands for an object.
    ///
    /// # Errors
    /// [`Error::AlreadyPreserved`] if another file does, [`Error::NoMemory`].
    pub(crate) fn index_object(&mut self, id: FileId, object: u64) -> Result<(), Error> {
        let hash = self.object_hash(object);
        if self.file_of_hashed(hash, object).is_some() {
            return Err(Error::AlreadyPreserved);
        }
        self.objects.insert_reserved(hash, id.slot)?;
        if let Some(file) = self.files.get_mut(id) {
            file.object = Some(object);
        }
        Ok(())
    }

    pub(crate) fn unindex_object(&mut self, id: FileId) {
        if let Some(file) = self.files.get_mut(id) {
            if file.object.take().is_some() {
                self.objects.remove(id.slot);
            }
        }
    }

    /// Changes the count of what the files of a session need, and its user's with it.
    pub(crate) fn count_dependencies(
        &mut self,
        session: SessionId,
        change: impl FnOnce(usize) -> usize,
    ) {
        let Some(entry) = self.sessions.get_mut(session) else {
            return;
        };
        let before = entry.dependencies;
        let after = change(before);
        entry.dependencies = after;
        self.charge(session, |used| {
            let others = used.dependencies.saturating_sub(before as u64);
            used.dependencies = others.saturating_add(after as u64);
        });
    }

    /// Notes how many bytes a file keeps that counted for some already.
    ///
    /// # Errors
    /// [`Error::OverQuota`], [`Error::UsersOverQuota`].
    pub(crate) fn grow(&mut self, id: FileId, bytes: u64) -> Result<(), Error> {
        let file = self.files.get(id).ok_or(Error::Inconsistent)?;
        let (session, more) = (file.session, bytes.saturating_sub(file.bytes));
        self.may_hold(session, Quota::Bytes, more)?;
        self.set_bytes(id, bytes);
        Ok(())
    }

    /// Notes how much memory a file keeps, and whose it is.
    pub(crate) fn set_bytes(&mut self, id: FileId, bytes: u64) {
        let Some(file) = self.files.get_mut(id) else {
            return;
        };
        if file.bytes == bytes {
            return;
        }
        let before = core::mem::replace(&mut file.bytes, bytes);
        let of = file.session;
        if let Some(session) = self.sessions.get_mut(of) {
            let others = session.bytes.saturating_sub(before.into());
            session.bytes = others.saturating_add(bytes.into());
        }
        self.charge(of, |used| {
            let others = used.bytes.saturating_sub(before);
            used.bytes = others.saturating_add(bytes);
        });
    }

    /// The last file of a session, if none of its files has to be before another.
    pub(crate) fn last_if_listed(&self, session: SessionId) -> Option<(Option<FileId>, Backwards)> {
        match self.sessions.get(session) {
            None => Some((None, Backwards::AsListed)),
            Some(entry) if entry.dependencies == 0 => Some((entry.files.last, Backwards::AsListed)),
            Some(_) => None,
        }
    }

    /// The file before one, on such a way.
    pub(crate) fn before(&self, id: FileId, way: Backwards) -> Option<FileId> {
        match way {
            Backwards::AsListed => self.files.get(id)?.links.prev,
            Backwards::InOrder => self.graph.prev_in_order(id),
        }
    }

    /// Looks at the files of a session from one on, for a stretch, and at as many neighbours of
    /// each as `neighbours` counts. Gives the file behind the stretch.
    ///
    /// # Errors
    /// The first of `look`, which ends it.
    pub(crate) fn look_along<E>(
        &self,
        first: FileId,
        neighbours: impl Fn(&Graph, FileId) -> usize,
        mut look: impl FnMut(FileId, &File<H>) -> Result<(), E>,
    ) -> Result<Option<FileId>, E> {
        let mut next = Some(first);
        let mut budget = Budget::of_a_stretch();
        while let Some((id, file)) = next.and_then(|id| Some((id, self.files.get(id)?))) {
            if !budget.has_room_for(neighbours(&self.graph, id)) {
                return Ok(Some(id));
            }
            look(id, file)?;
            next = file.links.next;
        }
        Ok(None)
    }

    /// Begins to put files in order: from `first` on.
    pub(crate) fn begin_ordering(&mut self, first: Option<FileId>, order: First) -> Ordering {
        Ordering {
            arranging: self.graph.begin_arranging(order),
            next: first,
        }
    }

    /// Goes on with an order for a stretch; `behind` gives the file behind one. True if it
    /// is made.
    pub(crate) fn go_on_ordering(
        &mut self,
        ordering: &mut Ordering,
        behind: impl Fn(&Self, FileId) -> Option<FileId>,
    ) -> bool {
        let mut budget = Budget::of_a_stretch();
        while let Some(id) = ordering.next {
            if !budget.has_room_for(0) {
                return false;
            }
            self.graph.take_in(&mut ordering.arranging, id);
            ordering.next = behind(self, id);
        }
        self.graph.arrange_on(&mut ordering.arranging, &mut budget)
    }

    /// A page that the records no longer need; for the caller to drop.
    pub(crate) fn surplus_record_page(&mut self) -> Option<H::Block> {
        self.record_chain.surplus(self.records)
    }
}
