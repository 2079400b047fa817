// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The reader: pages, blocks, sessions and files, by mainline's format.

use luo_abi::errno::Errno;
use luo_abi::handover::{BlockHeader, FileRecord, SessionRecord, FILES_PER_BLOCK, MAX_BLOCKS};
use zerocopy::{FromBytes, IntoBytes};

use crate::error::Error;
use crate::file_name::FileName;
use crate::graph::Graph;
use crate::handover::page::{absorb_session, offset_of_record, page, record};
use crate::handover::refusal::Area;
use crate::handover::Refusal;
use crate::host::{Access, FileCallbacks, Host, MOST_MISSING_NAMED};
use crate::id::{FileId, HandlerId, SessionId};
use crate::mem::Vec;
use crate::owner::Owner;
use crate::participant::handler::MAX_HANDLERS;
use crate::session::{Direction, SessionKind};
use crate::table::hash::{Digest, Hash};
use crate::table::index::Index;
use crate::text::{Compat, SessionName};

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
    /// The hash of the name, as the engine hashes the names of incoming sessions.
    pub(crate) hash: u32,
    /// The place of its first file, and how many it has; they stand together.
    pub(super) first: usize,
    pub(crate) files: usize,
    /// The supplement has a record of it.
    pub(super) has_facts: bool,
}

/// A file that was read.
pub(crate) struct FileDraft<H: Host> {
    /// The place of its session.
    pub(crate) session: usize,
    pub(crate) token: u64,
    pub(crate) data: u64,
    pub(crate) handler: Found<H>,
    pub(crate) bytes: u64,
    pub(crate) access: Access,
    /// A record says so.
    pub(super) has_facts: bool,
}

/// Whether the handler of a file that was read is here.
pub(crate) enum Found<H: Host> {
    Here(Taker<H>),
    /// It is not, or its owner is going away: the place of its name among those missing.
    Missing(usize),
}

/// A handler that is not here, and the files that wait for it.
pub(crate) struct Missing {
    pub(crate) name: Compat,
    pub(crate) files: usize,
    /// The first of them, and the place of its session.
    pub(crate) first: FileName,
    pub(super) session: usize,
    /// What the engine knows the handler by, once it knows it.
    pub(crate) id: Option<HandlerId>,
}

impl Missing {
    /// Tells a host for which handlers files wait.
    pub(crate) fn tell<H: Host>(host: &H, all: &[Self]) {
        for missing in all.iter().take(MOST_MISSING_NAMED) {
            let more = missing.files.saturating_sub(1);
            host.handler_is_missing(&missing.name, &missing.first, more);
        }
        match all.len().saturating_sub(MOST_MISSING_NAMED) {
            0 => {}
            more => host.more_are_missing(more),
        }
    }
}

/// The handler of a file that was read.
pub(crate) struct Taker<H: Host> {
    pub(crate) handler: HandlerId,
    pub(crate) table: H::Handler,
    pub(crate) pin: H::Pin,
}

/// A file that the previous kernel could not hand over.
pub(crate) struct LostDraft {
    /// The place of its session.
    pub(crate) session: usize,
    pub(crate) token: u64,
    pub(crate) why: Errno,
    /// The place of its record.
    pub(super) at: u64,
}

/// All that was read, not yet part of an engine.
pub(crate) struct Draft<H: Host> {
    pub(crate) sessions: Vec<SessionDraft>,
    pub(crate) files: Vec<FileDraft<H>>,
    pub(crate) lost: Vec<LostDraft>,
    /// Handlers that files wait for.
    pub(crate) missing: Vec<Missing>,
    /// Which file needs which, by their places; in the order of declaration.
    pub(crate) edges: Vec<(usize, usize)>,
    /// Room for the ids of the sessions, by their places.
    pub(crate) session_ids: Vec<Option<SessionId>>,
    /// Room for the ids of the files, by their places, if there are edges.
    pub(crate) ids: Vec<Option<FileId>>,
    /// The pages it was read from.
    pub(crate) pages: Vec<u64>,
}

/// A chain to be walked.
#[derive(Clone, Copy)]
pub(super) struct Walk {
    pub(super) area: Area,
    pub(super) per_block: usize,
    /// Blocks it may have.
    pub(super) most: usize,
}

pub(super) struct Reader<'a, H: Host> {
    pub(super) host: &'a H,
    pub(super) hash: Hash,
    pub(super) handlers: &'a [HandlerEntry<H>],
    /// Pages by address; slots count `draft.pages`.
    pub(super) visited: Index,
    /// Sessions by name; slots count `draft.sessions`.
    pub(super) names: Index,
    /// Files by session and token; slots count `draft.files`.
    pub(super) tokens: Index,
    pub(super) draft: Draft<H>,
    /// The dependencies among the drafts, to find cycles: the ids are places.
    pub(super) graph: Graph,
    /// Files that need others or are needed.
    pub(super) nodes: usize,
    /// Files of device sessions by token; slots count `draft.files`.
    pub(super) device_tokens: Index,
    /// Lost files by session and token; slots count `draft.lost`.
    pub(super) lost_tokens: Index,
    pub(super) digest: Digest,
    pub(super) has_supplement: bool,
    /// Records that were read.
    pub(super) records: u64,
    pub(super) update_number: u64,
}

impl<H: Host> Reader<'_, H> {
    /// Hands each record of a chain of blocks to `take`.
    pub(super) fn walk<R: FromBytes + IntoBytes>(
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
            let header: BlockHeader = record(&page, 0).ok_or(Error::Inconsistent)?;
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
                take(self, record(&page, offset).ok_or(Error::Inconsistent)?)?;
            }
            address = next;
        }
        if address == 0 {
            return Ok(());
        }
        Err(Refusal::ChainTooLong { area }.into())
    }

    /// Marks a page that is given back with the others: one that has been read or is now,
    /// so that it is one that the previous kernel has preserved.
    pub(super) fn visit(&mut self, area: Area, address: u64) -> Result<(), Error> {
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

    pub(super) fn session(&mut self, found: SessionRecord) -> Result<(), Error> {
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
            kind: SessionKind::open(name, self.unnamed_owner(&name)),
            hash,
            first: self.draft.files.len(),
            files: 0,
            has_facts: false,
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

    /// The owner of a session of which the supplement says nothing. Before owners were
    /// recorded a session of an orchestrator with a supplement was made with privileges.
    fn unnamed_owner(&self, name: &SessionName) -> Owner {
        if self.has_supplement {
            Owner::of_name(name)
        } else {
            Owner::of_unknown(name)
        }
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
        let handler = match self.taker(&compat) {
            Some(taker) => Found::Here(taker),
            None => Found::Missing(self.miss(compat, session, name, token)?),
        };
        let slot = u32::try_from(self.draft.files.len()).map_err(|_| Error::NoMemory)?;
        self.draft.files.push(FileDraft {
            session,
            token,
            data,
            handler,
            bytes: 0,
            access: Access::Full,
            has_facts: false,
        })?;
        self.tokens.insert(hash, slot)?;
        Ok(())
    }

    /// The handler of a name, if it is there to stay.
    fn taker(&self, name: &Compat) -> Option<Taker<H>> {
        let mut entries = self.handlers.iter();
        let entry = entries.find(|entry| entry.pin.is_some() && entry.name == *name)?;
        Some(Taker {
            handler: entry.id,
            pin: entry.table.pin(self.host)?,
            table: entry.table.clone(),
        })
    }

    /// Notes that a file waits for a handler; gives its place among those missing. They are
    /// walked, so there are no more than a kernel can have.
    fn miss(
        &mut self,
        handler: Compat,
        session: usize,
        name: &SessionName,
        token: u64,
    ) -> Result<usize, Error> {
        let missing = &mut self.draft.missing;
        let known = missing.iter().position(|entry| entry.name == handler);
        if let Some(entry) = known.and_then(|at| missing.get_mut(at)) {
            entry.files = entry.files.saturating_add(1);
        }
        if let Some(at) = known {
            return Ok(at);
        }
        let others = missing.len();
        if others >= MAX_HANDLERS {
            return Err(Refusal::TooManyMissing {
                session: *name,
                token,
                handler,
                others,
            }
            .into());
        }
        missing.push(Missing {
            name: handler,
            files: 1,
            first: FileName {
                session: *name,
                token,
                of_device: false,
            },
            session,
            id: None,
        })?;
        Ok(others)
    }

    /// What is known of the first file that waits for each missing handler, once all records
    /// are read.
    pub(super) fn name_missing(&mut self) {
        for missing in self.draft.missing.iter_mut() {
            let session = self.draft.sessions.get(missing.session);
            missing.first.of_device =
                session.is_some_and(|session| session.kind.owner == Owner::Device);
        }
    }
}
