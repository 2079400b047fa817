// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Reading a handover, page by page, into drafts that can be dropped.

use luo_abi::handover::{
    BlockHeader, FileRecord, FlbHeader, FlbRecord, Root, SessionRecord, COMPATIBLE,
    FILES_PER_BLOCK, MAX_BLOCKS, MAX_FLBS, SESSIONS_PER_BLOCK,
};
use luo_abi::supplement::{
    EdgeRecord, FileRecord as FileFacts, SessionRecord as SessionFacts, KIND_EDGE, KIND_FILE,
    KIND_SESSION, MAX_RECORD_BLOCKS, RECORDS_PER_BLOCK, RECORD_SIZE, SESSION_CLOSED,
    SESSION_OF_DEVICE,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::refusal::{Area, BadRecord};
use super::supplement::{self, verify};
use super::{ContractFields, Refusal, RootFields};
use crate::error::Error;
use crate::flb;
use crate::graph::{First, Graph};
use crate::hash::{Digest, Hash};
use crate::host::{Access, Host, PageError};
use crate::id::{FileId, HandlerId};
use crate::index::Index;
use crate::mem::{OutOfMemory, Vec};
use crate::session::{Direction, Owner, SessionKind};
use crate::subsystem::ArrivedSubsystem;
use crate::text::{Compat, SessionName};

/// What is read at boot.
pub(crate) struct Early<H: Host> {
    pub(crate) fields: RootFields,
    pub(crate) flbs: Vec<flb::Arrived<H>>,
    pub(crate) subsystems: Vec<ArrivedSubsystem>,
}

/// Reads the root at `address`, of which the KHO tree says it has `len` bytes, the
/// FLBs, and the root and the subsystems of what goes beside it.
///
/// # Errors
/// What is wrong, and the update number as far as it is known.
pub(crate) fn read_early<H: Host>(
    host: &H,
    (address, len): (u64, usize),
    contract: Option<(u64, usize)>,
) -> Result<Early<H>, (u64, Error)> {
    let fields = read_root(host, address, len).map_err(|why| (0, why.into()))?;
    read_rest(host, fields, contract).map_err(|why| (fields.update_number, why))
}

fn read_rest<H: Host>(
    host: &H,
    mut fields: RootFields,
    contract: Option<(u64, usize)>,
) -> Result<Early<H>, Error> {
    let mut digest = Digest::new();
    let flbs = read_flbs(host, fields.flbs, &mut digest)?;
    let mut subsystems = Vec::new();
    if let Some((address, len)) = contract {
        let update = fields.update_number;
        let (found, all) = supplement::read(host, address, len, update, digest)?;
        fields.contract = Some(found);
        subsystems = all;
    }
    Ok(Early {
        fields,
        flbs,
        subsystems,
    })
}

fn read_root<H: Host>(host: &H, address: u64, len: usize) -> Result<RootFields, Refusal> {
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
        contract: None,
    })
}

fn read_flbs<H: Host>(
    host: &H,
    address: u64,
    digest: &mut Digest,
) -> Result<Vec<flb::Arrived<H>>, Error> {
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
        digest.absorb_bytes(found.as_bytes());
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
    pub(crate) kind: SessionKind,
    /// Of the name, as the engine hashes those of incoming sessions.
    pub(crate) hash: u32,
    /// The place of its first file, and how many it has; they stand together.
    first: usize,
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
    pub(crate) bytes: u64,
    pub(crate) access: Access,
    /// A record says so.
    has_facts: bool,
}

/// All that was read, not yet part of an engine.
pub(crate) struct Draft<H: Host> {
    pub(crate) sessions: Vec<SessionDraft>,
    pub(crate) files: Vec<FileDraft<H>>,
    /// Which file needs which, by their places; in the order of declaration.
    pub(crate) edges: Vec<(usize, usize)>,
    /// Room for the ids of the files, by their places, if there are edges.
    pub(crate) ids: Vec<FileId>,
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
            edges: Vec::new(),
            ids: Vec::new(),
            pages: Vec::new(),
        },
        graph: Graph::new(hash),
        nodes: 0,
        device_tokens: Index::new(),
        digest: Digest::new(),
        records: 0,
        update_number: fields.update_number,
    };
    reader.visit(Area::Root, root)?;
    if fields.flbs != 0 {
        reader.visit(Area::Flbs, fields.flbs)?;
    }
    let sessions = Walk {
        area: Area::Sessions,
        per_block: SESSIONS_PER_BLOCK,
        most: MAX_BLOCKS,
    };
    reader.walk(sessions, fields.sessions, Reader::session)?;
    if let Some(contract) = &fields.contract {
        reader.contract(contract)?;
    }
    if !reader.draft.edges.is_empty() {
        let files = reader.draft.files.len();
        reader.draft.ids.reserve(files)?;
    }
    Ok(reader.draft)
}

/// A chain to be walked.
#[derive(Clone, Copy)]
struct Walk {
    area: Area,
    per_block: usize,
    /// Blocks it may have.
    most: usize,
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
    /// The dependencies among the drafts, to find cycles: the ids are places.
    graph: Graph,
    /// Files that need others or are needed.
    nodes: usize,
    /// Files of device sessions by token; slots count `draft.files`.
    device_tokens: Index,
    digest: Digest,
    /// Records that were read.
    records: u64,
    update_number: u64,
}

impl<H: Host> Reader<'_, H> {
    /// Hands each record of a chain of blocks to `take`.
    fn walk<R: FromBytes>(
        &mut self,
        Walk {
            area,
            per_block,
            most,
        }: Walk,
        head: u64,
        mut take: impl FnMut(&mut Self, R) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut address = head;
        for _ in 0..most {
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
        absorb_session(&mut self.digest, &found);
        let hash = self.hash.of_room(Direction::Incoming as u64, name.room());
        let sessions = &self.draft.sessions;
        let same = |slot: u32| {
            sessions
                .get(slot as usize)
                .is_some_and(|s| s.kind.name == name)
        };
        if self.names.find(hash, same).is_some() {
            return Err(Refusal::DuplicateSession(name).into());
        }
        let session = self.draft.sessions.len();
        let slot = u32::try_from(session).map_err(|_| Error::NoMemory)?;
        self.draft.sessions.push(SessionDraft {
            kind: SessionKind::open(name, Owner::Program),
            hash,
            first: self.draft.files.len(),
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
        let walk = Walk {
            area: Area::Files,
            per_block: FILES_PER_BLOCK,
            most: MAX_BLOCKS,
        };
        self.walk(walk, head, |reader, file| {
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
        self.digest.absorb_bytes(found.as_bytes());
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
            bytes: 0,
            access: Access::Full,
            has_facts: false,
        })?;
        self.tokens.insert(hash, slot)?;
        Ok(())
    }

    /// Reads what goes beside the sessions and compares the digest over all.
    fn contract(&mut self, fields: &ContractFields) -> Result<(), Error> {
        self.visit(Area::Supplement, fields.root)?;
        if fields.subsystems != 0 {
            self.visit(Area::Subsystems, fields.subsystems)?;
        }
        let said = fields.record_count;
        let mismatch = |found| Refusal::ContractCount {
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
        let digest = core::mem::replace(&mut self.digest, Digest::new());
        verify(Area::Records, fields.digest, digest.finish())?;
        self.look_for_cycle()?;
        Ok(())
    }

    fn record(&mut self, found: &[u8; RECORD_SIZE]) -> Result<(), Error> {
        let kind: u32 = record(found, 0).ok_or(Error::Inconsistent)?;
        let done = match kind {
            KIND_SESSION => read_as(found).map(|record| self.session_facts(&record)),
            KIND_FILE => read_as(found).map(|record| self.facts(&record)),
            KIND_EDGE => read_as(found).map(|record| self.edge(&record)),
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

    /// A session is one of the device, or was closed.
    fn session_facts(&mut self, found: &SessionFacts) -> Result<(), RecordError> {
        let session = self.draft.sessions.get_mut(found.session as usize);
        let session = session.ok_or(BadRecord::Session)?;
        if session.kind.has_record() {
            return Err(BadRecord::Duplicate.into());
        }
        let flags = found.flags;
        if flags == 0 || flags & !(SESSION_OF_DEVICE | SESSION_CLOSED) != 0 {
            return Err(BadRecord::Flags.into());
        }
        session.kind.closed = flags & SESSION_CLOSED != 0;
        if flags & SESSION_OF_DEVICE == 0 {
            return Ok(());
        }
        session.kind.owner = Owner::Device;
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

/// What is wrong with a record, or with something else.
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

/// A session's record as the digest has it: without its address.
pub(super) fn absorb_session(digest: &mut Digest, record: &SessionRecord) {
    digest.absorb_bytes(&record.name);
    digest.absorb(0);
    digest.absorb(record.file_count);
}

fn read_as<R: FromBytes + Immutable>(record: &[u8; RECORD_SIZE]) -> Option<R> {
    R::read_from_bytes(record).ok()
}

pub(super) fn page<H: Host>(host: &H, area: Area, address: u64) -> Result<H::Page, Refusal> {
    host.read_page(address)
        .map_err(|why: PageError| Refusal::Page { area, address, why })
}

/// Where record number `at` begins behind a header.
pub(super) fn offset_of_record<R>(header: usize, at: usize) -> usize {
    at.saturating_mul(size_of::<R>()).saturating_add(header)
}

pub(super) fn record<R: FromBytes>(page: &[u8], offset: usize) -> Option<R> {
    let (record, _) = R::read_from_prefix(page.get(offset..)?).ok()?;
    Some(record)
}
