// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Reading a handover, page by page, into drafts that can be dropped.

use luo_abi::handover::{
    BlockHeader, FileRecord, FlbHeader, FlbRecord, Root, SessionRecord, COMPATIBLE,
    FILES_PER_BLOCK, MAX_BLOCKS, MAX_FLBS, SESSIONS_PER_BLOCK,
};
use zerocopy::FromBytes;

use super::refusal::Area;
use super::{Refusal, RootFields};
use crate::error::Error;
use crate::flb;
use crate::hash::Hash;
use crate::host::{Host, PageError};
use crate::id::HandlerId;
use crate::index::Index;
use crate::mem::Vec;
use crate::session::Direction;
use crate::text::{Compat, SessionName};

/// Reads the root at `address`, of which the KHO tree says it has `len` bytes.
pub(crate) fn read_root<H: Host>(
    host: &H,
    address: u64,
    len: usize,
) -> Result<RootFields, Refusal> {
    if len < size_of::<Root>() {
        return Err(Refusal::RootTooShort { len });
    }
    let page = page(host, Area::Root, address)?;
    let root: Root = record(page.as_ref(), 0).ok_or(Refusal::RootTooShort { len })?;
    if root.compatible != COMPATIBLE {
        return Err(Refusal::Version {
            found: root.compatible,
        });
    }
    Ok(RootFields {
        update_number: root.update_number,
        sessions: root.sessions,
        flbs: root.flbs,
    })
}

/// Reads the page of FLBs.
pub(crate) fn read_flbs<H: Host>(host: &H, address: u64) -> Result<Vec<flb::Arrived<H>>, Error> {
    let mut all: Vec<flb::Arrived<H>> = Vec::new();
    if address == 0 {
        return Ok(all);
    }
    let page = page(host, Area::Flbs, address)?;
    let bytes = page.as_ref();
    let header: FlbHeader = record(bytes, 0).ok_or(Error::Inconsistent)?;
    let (pages, count) = (header.pages, header.count);
    if pages != 1 || count > MAX_FLBS as u64 {
        return Err(Refusal::FlbHeader { pages, count }.into());
    }
    for at in 0..MAX_FLBS.min(usize::try_from(count).unwrap_or(MAX_FLBS)) {
        let offset = offset_of_record::<FlbRecord>(size_of::<FlbHeader>(), at);
        let found: FlbRecord = record(bytes, offset).ok_or(Error::Inconsistent)?;
        let name = Compat::parse(&found.name).map_err(Refusal::FlbName)?;
        if all.iter().any(|other| other.name == name) {
            return Err(Refusal::DuplicateFlb(name).into());
        }
        all.push(flb::Arrived::new(name, found.data, found.count))?;
    }
    Ok(all)
}

/// A registered handler, as it was when the reading began.
pub(crate) struct HandlerEntry<H: Host> {
    pub(crate) id: HandlerId,
    pub(crate) name: Compat,
    pub(crate) table: H::Handler,
    /// Held over the reading; `None` if the owner is going away, and then the
    /// table must not be looked at.
    pub(crate) pin: Option<H::Pin>,
}

/// A session that was read.
pub(crate) struct SessionDraft {
    pub(crate) name: SessionName,
    /// Of the name, as the engine hashes those of incoming sessions.
    pub(crate) hash: u32,
    /// How many of the files that were read are its own; they stand together.
    pub(crate) files: usize,
}

/// A file that was read.
pub(crate) struct FileDraft<H: Host> {
    session: usize,
    pub(crate) token: u64,
    pub(crate) data: u64,
    pub(crate) handler: HandlerId,
    pub(crate) table: H::Handler,
    pub(crate) pin: H::Pin,
}

/// All that was read, not yet part of an engine.
pub(crate) struct Draft<H: Host> {
    pub(crate) sessions: Vec<SessionDraft>,
    pub(crate) files: Vec<FileDraft<H>>,
    /// The pages it was read from.
    pub(crate) pages: Vec<u64>,
}

/// Reads all sessions and their files. The root and the FLBs are read already;
/// their pages count as visited and go with the others.
pub(crate) fn read_sessions<H: Host>(
    host: &H,
    hash: Hash,
    handlers: &[HandlerEntry<H>],
    root: u64,
    fields: &RootFields,
) -> Result<Draft<H>, Error> {
    let mut reader = Reader {
        host,
        hash,
        handlers,
        visited: Index::new(),
        names: Index::new(),
        tokens: Index::new(),
        draft: Draft {
            sessions: Vec::new(),
            files: Vec::new(),
            pages: Vec::new(),
        },
    };
    reader.visit(Area::Root, root)?;
    if fields.flbs != 0 {
        reader.visit(Area::Flbs, fields.flbs)?;
    }
    let head = fields.sessions;
    reader.walk(Area::Sessions, SESSIONS_PER_BLOCK, head, Reader::session)?;
    Ok(reader.draft)
}

struct Reader<'a, H: Host> {
    host: &'a H,
    hash: Hash,
    handlers: &'a [HandlerEntry<H>],
    /// Pages by address; slots count `draft.pages`.
    visited: Index,
    /// Sessions by name; slots count `draft.sessions`.
    names: Index,
    /// Files by session and token; slots count `draft.files`.
    tokens: Index,
    draft: Draft<H>,
}

impl<H: Host> Reader<'_, H> {
    /// Hands each record of a chain of blocks to `take`.
    fn walk<R: FromBytes>(
        &mut self,
        area: Area,
        per_block: usize,
        head: u64,
        mut take: impl FnMut(&mut Self, R) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut address = head;
        for _ in 0..MAX_BLOCKS {
            if address == 0 {
                return Ok(());
            }
            self.visit(area, address)?;
            let page = page(self.host, area, address)?;
            let bytes = page.as_ref();
            let header: BlockHeader = record(bytes, 0).ok_or(Error::Inconsistent)?;
            let (next, count) = (header.next, header.count);
            let bad_count = Refusal::BlockCount {
                area,
                address,
                count,
            };
            // Mainline's orchestrator leaves an empty block behind a full one
            // when a request that made room for one more record was refused.
            // It says nothing, so nothing is lost by passing over it.
            if count == 0 && next == 0 && address != head {
                return Ok(());
            }
            let count = usize::try_from(count).map_err(|_| bad_count)?;
            if count == 0 || count > per_block {
                return Err(bad_count.into());
            }
            for at in 0..count {
                let offset = offset_of_record::<R>(size_of::<BlockHeader>(), at);
                take(self, record(bytes, offset).ok_or(Error::Inconsistent)?)?;
            }
            address = next;
        }
        if address == 0 {
            return Ok(());
        }
        Err(Refusal::ChainTooLong { area }.into())
    }

    fn visit(&mut self, area: Area, address: u64) -> Result<(), Error> {
        let hash = self.hash.of_words(&[address]);
        let pages = &self.draft.pages;
        let seen = |slot: u32| pages.get(slot as usize) == Some(&address);
        if self.visited.find(hash, seen).is_some() {
            return Err(Refusal::Revisited { area, address }.into());
        }
        let slot = u32::try_from(self.draft.pages.len()).map_err(|_| Error::NoMemory)?;
        self.draft.pages.push(address)?;
        self.visited.insert(hash, slot)?;
        Ok(())
    }

    fn session(&mut self, found: SessionRecord) -> Result<(), Error> {
        let name = SessionName::parse(&found.name).map_err(Refusal::SessionName)?;
        let (head, said) = (found.files, found.file_count);
        let hash = self.hash.of_room(Direction::Incoming as u64, name.room());
        let sessions = &self.draft.sessions;
        let same = |slot: u32| sessions.get(slot as usize).is_some_and(|s| s.name == name);
        if self.names.find(hash, same).is_some() {
            return Err(Refusal::DuplicateSession(name).into());
        }
        let session = self.draft.sessions.len();
        let slot = u32::try_from(session).map_err(|_| Error::NoMemory)?;
        self.draft.sessions.push(SessionDraft {
            name,
            hash,
            files: 0,
        })?;
        self.names.insert(hash, slot)?;

        let first = self.draft.files.len();
        let found_files = |reader: &Self| reader.draft.files.len().saturating_sub(first) as u64;
        let mismatch = |found| Refusal::FileCount {
            session: name,
            said,
            found,
        };
        self.walk(Area::Files, FILES_PER_BLOCK, head, |reader, file| {
            if found_files(reader) >= said {
                return Err(mismatch(said.saturating_add(1)).into());
            }
            reader.file(session, &name, file)
        })?;
        let found = found_files(self);
        if found != said {
            return Err(mismatch(found).into());
        }
        if let Some(draft) = self.draft.sessions.get_mut(session) {
            draft.files = usize::try_from(found).map_err(|_| Error::NoMemory)?;
        }
        Ok(())
    }

    fn file(&mut self, session: usize, name: &SessionName, found: FileRecord) -> Result<(), Error> {
        let (token, data) = (found.token, found.data);
        let compat = Compat::parse(&found.compatible).map_err(|why| Refusal::HandlerName {
            session: *name,
            token,
            why,
        })?;
        let hash = self.hash.of_words(&[session as u64, token]);
        let files = &self.draft.files;
        let same = |slot: u32| {
            files
                .get(slot as usize)
                .is_some_and(|file| file.session == session && file.token == token)
        };
        if self.tokens.find(hash, same).is_some() {
            return Err(Refusal::DuplicateToken {
                session: *name,
                token,
            }
            .into());
        }
        let mut entries = self.handlers.iter();
        let entry = entries.find(|entry| entry.pin.is_some() && entry.name == compat);
        let pinned = entry.and_then(|e| self.host.pin_handler(&e.table).map(|pin| (e, pin)));
        let (entry, pin) = pinned.ok_or(Refusal::UnknownHandler {
            session: *name,
            token,
            handler: compat,
        })?;
        let slot = u32::try_from(self.draft.files.len()).map_err(|_| Error::NoMemory)?;
        self.draft.files.push(FileDraft {
            session,
            token,
            data,
            handler: entry.id,
            table: entry.table.clone(),
            pin,
        })?;
        self.tokens.insert(hash, slot)?;
        Ok(())
    }
}

fn page<H: Host>(host: &H, area: Area, address: u64) -> Result<H::Page, Refusal> {
    host.read_page(address)
        .map_err(|why: PageError| Refusal::Page { area, address, why })
}

/// Where record number `at` begins behind a header.
fn offset_of_record<R>(header: usize, at: usize) -> usize {
    at.saturating_mul(size_of::<R>()).saturating_add(header)
}

fn record<R: FromBytes>(page: &[u8], offset: usize) -> Option<R> {
    let (record, _) = R::read_from_prefix(page.get(offset..)?).ok()?;
    Some(record)
}
