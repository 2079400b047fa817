// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Files by token and by object.

use super::Engine;
use crate::error::Error;
use crate::file_name::FileName;
use crate::graph::{First, Order};
use crate::host::Host;
use crate::id::{FileId, SessionId};
use crate::owner::Owner;
use crate::session::{Direction, File};

impl<H: Host> Engine<H> {
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

    /// Whether an outgoing file may change now: what took part in a prepare may not.
    pub(crate) fn may_change_file(&self, id: FileId) -> Result<(), Error> {
        let file = self.files.get(id).and_then(File::as_outgoing);
        file.map_or(Ok(()), |file| self.update.may_change(file.made))
    }

    /// Whether a session is one of an open instance of the device, and where it
    /// goes.
    fn kind_of(&self, session: SessionId) -> Option<(Owner, Direction)> {
        let session = self.sessions.get(session)?;
        Some((session.owner, session.direction()))
    }

    /// Adds a file whose token is not in use in its session.
    pub(crate) fn add_file(&mut self, file: File<H>) -> Result<FileId, Error> {
        let (session, token, bytes) = (file.session, file.token, file.bytes);
        let (owner, direction) = self.kind_of(session).ok_or(Error::NoSession)?;
        let hash = self.token_hash(session, token);
        self.tokens.reserve(1)?;
        if owner == Owner::Device {
            self.device_tokens.reserve(1)?;
        }
        self.graph.reserve_nodes(self.files.slots_after(1))?;
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
        if let Some(account) = self.payer(session) {
            account.files = account.files.saturating_add(1);
            account.bytes = account.bytes.saturating_add(bytes);
        }
        if direction == Direction::Outgoing {
            self.records = self.records.saturating_add(1);
        }
        Ok(id)
    }

    /// Takes a file out of everything that knows it. What it held is the
    /// caller's to drop, without the lock.
    pub(crate) fn remove_file(&mut self, id: FileId) -> Option<File<H>> {
        let (session, token) = self.files.get(id).map(|file| (file.session, file.token))?;
        let name = self.file_name(id)?;
        let (owner, direction) = self.kind_of(session)?;
        self.unindex_object(id);
        let edges = self.graph.edge_count();
        let freed = self.graph.remove_node(id, name);
        // What it needed.
        let gone = edges.saturating_sub(self.graph.edge_count());
        if direction == Direction::Outgoing {
            // Its own record and those.
            self.records = self.records.saturating_sub(gone.saturating_add(1));
        }
        if freed && self.closed_pending > 0 {
            self.retry_wanted = true;
        }
        let hash = self.token_hash(session, token);
        self.tokens.remove(hash, id.slot);
        if owner == Owner::Device {
            let hash = self.device_token_hash(token);
            self.device_tokens.remove(hash, id.slot);
        }
        if let Some(session) = self.sessions.get_mut(session) {
            session.files.unlink(&mut self.files, id);
        }
        let file = self.files.remove(id)?;
        if let Some(account) = self.payer(session) {
            account.files = account.files.saturating_sub(1);
            account.bytes = account.bytes.saturating_sub(file.bytes);
            account.dependencies = account.dependencies.saturating_sub(gone as u64);
        }
        if let Some(handler) = file.handler {
            self.release_handler(handler);
        }
        Some(file)
    }

    /// Notes that a file needs one more than before.
    pub(crate) fn note_dependency(&mut self, from: FileId) {
        let session = self.files.get(from).map(|file| file.session);
        if let Some(account) = session.and_then(|session| self.payer(session)) {
            account.dependencies = account.dependencies.saturating_add(1);
        }
    }

    /// Notes how much memory a file keeps, and whose it is.
    pub(crate) fn set_bytes(&mut self, id: FileId, bytes: u64) {
        let Some(file) = self.files.get_mut(id) else {
            return;
        };
        let before = core::mem::replace(&mut file.bytes, bytes);
        let session = file.session;
        if let Some(account) = self.payer(session) {
            let others = account.bytes.saturating_sub(before);
            account.bytes = others.saturating_add(bytes);
        }
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

    pub(crate) fn unindex_object(&mut self, id: FileId) {
        if let Some(object) = self.files.get_mut(id).and_then(|file| file.object.take()) {
            let hash = self.object_hash(object);
            self.objects.remove(hash, id.slot);
        }
    }

    /// Puts the files of a session in order, dependencies first.
    pub(crate) fn arrange_session(&mut self, session: SessionId) -> Order {
        let first = self.sessions.get(session).and_then(|s| s.files.first);
        let (mut next, files) = (first, &self.files);
        let forward = core::iter::from_fn(move || {
            let id = next?;
            next = files.get(id)?.links.next;
            Some(id)
        });
        self.graph.arrange(forward, First::Dependencies)
    }

    /// A page that the records no longer need; for the caller to drop.
    pub(crate) fn surplus_record_page(&mut self) -> Option<H::Block> {
        self.record_chain.surplus(self.records)
    }
}
