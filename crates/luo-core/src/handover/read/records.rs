// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Reading the supplement's records: facts of sessions and files, and dependencies, which
//! `luo-v5` has no place for.

use luo_abi::errno::Errno;
use luo_abi::supplement::{
    EdgeRecord, FileFacts, LostFile, SessionFacts, KIND_EDGE, KIND_FILE, KIND_LOST, KIND_SESSION,
    MAX_RECORD_BLOCKS, RECORDS_PER_BLOCK, RECORD_SIZE, SESSION_CLOSED, SESSION_OF_DEVICE,
    SESSION_OF_NOBODY, SESSION_OF_USER,
};
use zerocopy::{FromBytes, Immutable};

use super::reader::{LostDraft, Reader, Walk};
use crate::error::Error;
use crate::graph::First;
use crate::handover::page::record;
use crate::handover::refusal::{Area, BadRecord};
use crate::handover::supplement::verify;
use crate::handover::{Refusal, SupplementFields};
use crate::host::{Access, Host};
use crate::id::FileId;
use crate::mem::OutOfMemory;
use crate::owner::Owner;

impl<H: Host> Reader<'_, H> {
    /// Reads the records of the supplement and compares the digest over all.
    pub(super) fn supplement(&mut self, fields: &SupplementFields) -> Result<(), Error> {
        self.visit(Area::Supplement, fields.root)?;
        if fields.subsystems != 0 {
            self.visit(Area::Subsystems, fields.subsystems)?;
        }
        let said = fields.record_count;
        let mismatch = |found| Refusal::SupplementCount {
            area: Area::Records,
            said,
            found,
        };
        let walk = Walk {
            area: Area::Records,
            per_block: RECORDS_PER_BLOCK,
            most: MAX_RECORD_BLOCKS,
        };
        self.walk(walk, fields.records, |reader, found: [u8; RECORD_SIZE]| {
            if reader.records >= said {
                return Err(mismatch(said.saturating_add(1)).into());
            }
            reader.digest.absorb_bytes(&found);
            reader.record(&found)?;
            reader.records = reader.records.saturating_add(1);
            Ok(())
        })?;
        if self.records != said {
            return Err(mismatch(self.records).into());
        }
        let digest = core::mem::take(&mut self.digest);
        verify(Area::Records, fields.digest, digest.finish())?;
        self.look_for_cycle()?;
        self.check_lost_of_device()
    }

    fn record(&mut self, found: &[u8; RECORD_SIZE]) -> Result<(), Error> {
        let kind: u32 = record(found, 0).ok_or(Error::Inconsistent)?;
        let done = match kind {
            KIND_SESSION => read_as(found).map(|record| self.session_facts(&record)),
            KIND_FILE => read_as(found).map(|record| self.facts(&record)),
            KIND_EDGE => read_as(found).map(|record| self.edge(&record)),
            KIND_LOST => read_as(found).map(|record| self.lost(&record)),
            _ => Some(Err(BadRecord::Kind.into())),
        };
        done.ok_or(Error::Inconsistent)?.map_err(|why| match why {
            RecordError::Bad(why) => Refusal::Record {
                at: self.records,
                kind,
                why,
            }
            .into(),
            RecordError::Other(why) => why,
        })
    }

    /// A session is one of the device, a user's or nobody's, or was closed.
    fn session_facts(&mut self, found: &SessionFacts) -> Result<(), RecordError> {
        let session = self.draft.sessions.get_mut(found.session as usize);
        let session = session.ok_or(BadRecord::Session)?;
        if core::mem::replace(&mut session.has_facts, true) {
            return Err(BadRecord::Duplicate.into());
        }
        let flags = found.flags;
        let owner = match flags & !SESSION_CLOSED {
            0 if flags != 0 => Owner::Root,
            SESSION_OF_DEVICE => Owner::Device,
            SESSION_OF_USER => Owner::User(found.user),
            SESSION_OF_NOBODY => Owner::Nobody,
            _ => return Err(BadRecord::Flags.into()),
        };
        let said = owner.user().unwrap_or(0) == found.user;
        // A session that was closed before owners were recorded says nothing of them.
        let owner = match owner {
            Owner::Root => session.kind.owner,
            _ => owner,
        };
        if !said || !owner.fits(&session.kind.name) {
            return Err(BadRecord::Owner.into());
        }
        session.kind.closed = flags & SESSION_CLOSED != 0;
        session.kind.owner = owner;
        if owner != Owner::Device {
            return Ok(());
        }
        // Its tokens are those of kernels before.
        let (first, files) = (session.first, session.files);
        for place in first..first.saturating_add(files) {
            let token = self.draft.files.get(place).map(|file| file.token);
            let token = token.ok_or(Error::Inconsistent)?;
            let hash = self.hash.of_words(&[token]);
            let drafts = &self.draft.files;
            let same = |slot: u32| drafts.get(slot as usize).is_some_and(|f| f.token == token);
            let known = self.device_tokens.find(hash, same).is_some();
            if known || token >> 32 >= self.update_number {
                return Err(BadRecord::Token.into());
            }
            let slot = u32::try_from(place).map_err(|_| Error::NoMemory)?;
            self.device_tokens.insert(hash, slot)?;
        }
        Ok(())
    }

    fn facts(&mut self, found: &FileFacts) -> Result<(), RecordError> {
        let place = self.place(found.session, found.token)?;
        let access = Access::from_number(found.access).ok_or(BadRecord::Access)?;
        let file = self.draft.files.get_mut(place).ok_or(BadRecord::File)?;
        if core::mem::replace(&mut file.has_facts, true) {
            return Err(BadRecord::Duplicate.into());
        }
        file.bytes = found.bytes;
        file.access = access;
        Ok(())
    }

    /// A file that is not among those of `luo-v5`.
    fn lost(&mut self, found: &LostFile) -> Result<(), RecordError> {
        let (session, token) = (found.session as usize, found.token);
        match self.place(found.session, token) {
            Err(RecordError::Bad(BadRecord::File)) => {}
            Err(why) => return Err(why),
            Ok(_) => return Err(BadRecord::Duplicate.into()),
        }
        let error = i32::try_from(found.error).ok().and_then(i32::checked_neg);
        let Some(Err(why)) = error.map(Errno::check) else {
            return Err(BadRecord::Error.into());
        };
        let hash = self.hash.of_words(&[session as u64, token]);
        let lost = &self.draft.lost;
        let same = |slot: u32| {
            lost.get(slot as usize)
                .is_some_and(|lost| lost.session == session && lost.token == token)
        };
        if self.lost_tokens.find(hash, same).is_some() {
            return Err(BadRecord::Duplicate.into());
        }
        let slot = u32::try_from(self.draft.lost.len()).map_err(|_| Error::NoMemory)?;
        self.draft.lost.push(LostDraft {
            session,
            token,
            why,
            at: self.records,
        })?;
        self.lost_tokens.insert(hash, slot)?;
        Ok(())
    }

    /// Lost files of the device have tokens of kernels before, and each its own. Which
    /// sessions are those of the device is known when all records are read.
    fn check_lost_of_device(&mut self) -> Result<(), Error> {
        let base = self.draft.files.len();
        for at in 0..self.draft.lost.len() {
            let Some(lost) = self.draft.lost.get(at) else {
                break;
            };
            let (session, token, record) = (lost.session, lost.token, lost.at);
            let session = self.draft.sessions.get(session);
            if session.is_none_or(|session| session.kind.owner != Owner::Device) {
                continue;
            }
            let hash = self.hash.of_words(&[token]);
            let (files, lost) = (&self.draft.files, &self.draft.lost);
            let same = |slot: u32| {
                let slot = slot as usize;
                match slot.checked_sub(base) {
                    None => files.get(slot).is_some_and(|file| file.token == token),
                    Some(at) => lost.get(at).is_some_and(|lost| lost.token == token),
                }
            };
            let known = self.device_tokens.find(hash, same).is_some();
            if known || token >> 32 >= self.update_number {
                return Err(Refusal::Record {
                    at: record,
                    kind: KIND_LOST,
                    why: BadRecord::Token,
                }
                .into());
            }
            let slot = u32::try_from(base.saturating_add(at)).map_err(|_| Error::NoMemory)?;
            self.device_tokens.insert(hash, slot)?;
        }
        Ok(())
    }

    fn edge(&mut self, found: &EdgeRecord) -> Result<(), RecordError> {
        let from = self.place(found.session, found.token)?;
        let on = self.place(found.on_session, found.on_token)?;
        self.draft.edges.push((from, on))?;
        let (from, on) = (self.node(from)?, self.node(on)?);
        match self.graph.adopt(from, on) {
            Ok(()) => Ok(()),
            Err(Error::DependencyExists) => Err(BadRecord::Duplicate.into()),
            Err(why) => Err(why.into()),
        }
    }

    /// Files that need themselves, by way of others, are not all put in order.
    fn look_for_cycle(&mut self) -> Result<(), Refusal> {
        let files = u32::try_from(self.draft.files.len()).unwrap_or(u32::MAX);
        let all = (0..files).map(|place| FileId::new(place, 1));
        let order = self.graph.arrange(all, First::Dependencies);
        if order.len < self.nodes {
            return Err(Refusal::DependencyCycle {
                files: self.nodes.saturating_sub(order.len),
            });
        }
        Ok(())
    }

    /// The place of a file among the drafts.
    fn place(&self, session: u32, token: u64) -> Result<usize, RecordError> {
        let session = session as usize;
        if session >= self.draft.sessions.len() {
            return Err(BadRecord::Session.into());
        }
        let hash = self.hash.of_words(&[session as u64, token]);
        let files = &self.draft.files;
        let same = |slot: u32| {
            files
                .get(slot as usize)
                .is_some_and(|file| file.session == session && file.token == token)
        };
        let slot = self.tokens.find(hash, same).ok_or(BadRecord::File)?;
        Ok(slot as usize)
    }

    /// The node of the file at a place.
    fn node(&mut self, place: usize) -> Result<FileId, Error> {
        let slot = u32::try_from(place).map_err(|_| Error::NoMemory)?;
        let id = FileId::new(slot, 1);
        if !self.graph.has_node(id) {
            self.graph.add_node(id)?;
            self.nodes = self.nodes.saturating_add(1);
        }
        Ok(id)
    }
}

/// Why a record is refused, or another error on the way.
enum RecordError {
    Bad(BadRecord),
    Other(Error),
}

impl From<BadRecord> for RecordError {
    fn from(why: BadRecord) -> Self {
        Self::Bad(why)
    }
}

impl From<Error> for RecordError {
    fn from(why: Error) -> Self {
        Self::Other(why)
    }
}

impl From<OutOfMemory> for RecordError {
    fn from(why: OutOfMemory) -> Self {
        Self::Other(why.into())
    }
}

fn read_as<R: FromBytes + Immutable>(record: &[u8; RECORD_SIZE]) -> Option<R> {
    R::read_from_bytes(record).ok()
}
