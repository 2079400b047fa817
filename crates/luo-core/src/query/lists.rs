// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Looking: what there is and how it stands, in the words of the ABI.
//!
//! Lists are given in pages of limited size; the cursor of the next page is the id
//! of the last entry, so that a list goes on where it was even if others change it
//! meanwhile, and says so if that very entry is gone.

use luo_abi::contract::{
    DependencyInfo, Failure as FailureInfo, FileInfo, Info, ParticipantInfo, SessionInfo,
    CAUSE_CARRY, CAUSE_DEPENDENCY, CAUSE_HANDLER, CAUSE_INTERNAL, CAUSE_NONE, CAUSE_SUBSYSTEM,
    DEPENDENCY_ON_DEVICE, EVENT_REBOOT, FEATURE_ACCESS_MODE, FEATURE_CARRY, FEATURE_DEPENDENCIES,
    FEATURE_RFC, FEATURE_SUBSYSTEMS, FILE_BUSY, FILE_FAILED, FILE_FROZEN, FILE_INCOMING,
    FILE_MISSING, FILE_PRESERVED, FILE_REGISTERED, FILE_RETRIEVED, LIST_INCOMING, LIST_OUTGOING,
    PARTICIPANT_FILE_HANDLER, PARTICIPANT_FLB, PARTICIPANT_SUBSYSTEM, SESSION_CLAIMED,
    SESSION_CLOSED, SESSION_OF_DEVICE, SESSION_OPEN, SESSION_UNCLAIMED, SESSION_UNFINISHED,
};
use luo_abi::handover::{COMPATIBLE, MAX_FILES_PER_SESSION, MAX_SESSIONS};
use luo_abi::supplement::{self, MAX_RECORDS, MAX_SUBSYSTEMS};
use zerocopy::FromZeros;

use crate::engine::{files_of, Engine};
use crate::error::Error;
use crate::failure::{Failure, LastFailure};
use crate::file_name::FileName;
use crate::graph::Target;
use crate::host::Host;
use crate::id::{EdgeId, FileId, SessionId};
use crate::lock::Lock;
use crate::mem::Vec;
use crate::session::{Direction, FileWay, Owner, Progress, Session, Stage, State};

/// The most entries that one call gives, whatever room the caller has.
pub const MAX_PAGE: usize = 128;

/// Part of a list.
pub struct Page<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// Where the list goes on, 0 at its end.
    pub next: u64,
    /// Entries there are altogether.
    pub total: u64,
}

impl<T> Page<T> {
    /// A page without entries, at the end of its list.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            entries: Vec::new(),
            next: 0,
            total: 0,
        }
    }

    fn with_room(room: usize) -> Result<Self, Error> {
        let mut page = Self::empty();
        page.entries.reserve(room.min(MAX_PAGE))?;
        Ok(page)
    }

    /// Adds an entry; false if the page is full.
    fn add(&mut self, room: usize, entry: T) -> Result<bool, Error> {
        if self.entries.len() >= room.min(MAX_PAGE) {
            return Ok(false);
        }
        self.entries.push(entry)?;
        Ok(true)
    }
}

/// The files of a session, `room` of them at most, behind `cursor`.
///
/// # Errors
/// [`Error::NoSession`], [`Error::Stale`], [`Error::NoMemory`].
pub fn list_files<H: Lock>(
    host: &H,
    session: SessionId,
    cursor: u64,
    room: usize,
) -> Result<Page<FileInfo>, Error> {
    let mut page = Page::with_room(room)?;
    host.now(|engine| engine.page_of_files(session, cursor, room, &mut page))?;
    Ok(page)
}

/// The files that were registered on the device in the previous kernel: who asks for
/// one by its token can tell here whether it is restored, and what its handler said.
///
/// # Errors
/// [`Error::Stale`], [`Error::NoMemory`].
pub fn list_arrived_files<H: Lock>(
    host: &H,
    cursor: u64,
    room: usize,
) -> Result<Page<FileInfo>, Error> {
    let mut page = Page::with_room(room)?;
    host.now(|engine| engine.page_of_arrived(cursor, room, &mut page))?;
    Ok(page)
}

/// What a file of a session needs, in the order it was declared in.
///
/// # Errors
/// [`Error::NoToken`], [`Error::Stale`], [`Error::NoMemory`].
pub fn list_dependencies<H: Lock>(
    host: &H,
    session: SessionId,
    token: u64,
    cursor: u64,
    room: usize,
) -> Result<Page<DependencyInfo>, Error> {
    let mut page = Page::with_room(room)?;
    host.now(|engine| {
        let id = engine.find_file(session, token).ok_or(Error::NoToken)?;
        engine.page_of_dependencies(id, cursor, room, &mut page)
    })?;
    Ok(page)
}

/// All sessions that are not finished, the outgoing ones first; `which` is [`LIST_OUTGOING`],
/// [`LIST_INCOMING`] or both, 0 for both.
///
/// # Errors
/// [`Error::Stale`], [`Error::NoMemory`].
pub fn list_sessions<H: Lock>(
    host: &H,
    which: u32,
    cursor: u64,
    room: usize,
) -> Result<Page<SessionInfo>, Error> {
    let mut page = Page::with_room(room)?;
    host.now(|engine| engine.page_of_sessions(which, cursor, room, &mut page))?;
    Ok(page)
}

/// Handlers, FLBs and subsystems. They are few: the cursor counts them.
///
/// # Errors
/// [`Error::NoMemory`].
pub fn list_participants<H: Lock>(
    host: &H,
    cursor: u64,
    room: usize,
) -> Result<Page<ParticipantInfo>, Error> {
    let mut page = Page::with_room(room)?;
    host.now(|engine| engine.page_of_participants(cursor, room, &mut page))?;
    Ok(page)
}

/// A name in the room of a fixed size.
fn in_room<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut room = [0; N];
    // The last byte stays the terminator.
    for (to, from) in room.iter_mut().take(N.saturating_sub(1)).zip(text) {
        *to = *from;
    }
    room
}

fn count32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl<H: Host> Engine<H> {
    /// How everything stands. `implementation` names the host; `features` are
    /// those it adds to the engine's.
    #[must_use]
    pub fn info(&self, implementation: &str, features: u64) -> Info {
        let mut unclaimed = 0u64;
        let mut session = self.incoming.first;
        while let Some(current) = session.and_then(|id| self.sessions.get(id)) {
            if current.state == State::UNCLAIMED {
                unclaimed = unclaimed.saturating_add(1);
            }
            session = current.links.next;
        }
        Info {
            size: count32(size_of::<Info>()),
            state: self.state() as u32,
            update_count: self.update_number,
            state_changes: self.state_changes(),
            features: FEATURE_RFC
                | FEATURE_DEPENDENCIES
                | FEATURE_SUBSYSTEMS
                | FEATURE_CARRY
                | FEATURE_ACCESS_MODE
                | features,
            outgoing: self.outgoing.len as u64,
            incoming: self.unfinished as u64,
            unclaimed,
            files: self.files.len() as u64,
            max_sessions: count32(MAX_SESSIONS),
            max_files_per_session: count32(MAX_FILES_PER_SESSION),
            max_records: count32(MAX_RECORDS),
            max_subsystems: count32(MAX_SUBSYSTEMS),
            handover_abi: in_room(&COMPATIBLE),
            contract_abi: supplement::COMPATIBLE,
            implementation: in_room(implementation.as_bytes()),
        }
    }

    /// What failed last, in the words of the ABI.
    #[must_use]
    pub fn failure_info(&self) -> FailureInfo {
        let mut info = FailureInfo::new_zeroed();
        info.size = count32(size_of::<FailureInfo>());
        info.cause = CAUSE_NONE;
        let Some(LastFailure {
            event,
            failure,
            sequence,
        }) = self.last_failure()
        else {
            return info;
        };
        info.event = event.map_or(EVENT_REBOOT, |event| event as u32);
        info.error = failure.errno().get().unsigned_abs();
        info.sequence = *sequence;
        let mut name_file = |file: &FileName| {
            info.session = *file.session.room();
            info.token = file.token;
        };
        match failure {
            Failure::Handler { file, handler, .. } => {
                name_file(file);
                info.cause = CAUSE_HANDLER;
                info.participant = *handler.room();
            }
            Failure::Subsystem { name, .. } => {
                info.cause = CAUSE_SUBSYSTEM;
                info.participant = *name.room();
            }
            Failure::Dependency { file, on } => {
                name_file(file);
                info.cause = CAUSE_DEPENDENCY;
                info.on_session = *on.session.room();
                info.on_token = on.token;
                info.on_flags = on_device(on.of_device);
            }
            Failure::Carry {
                session,
                token,
                why,
            } => {
                info.cause = CAUSE_CARRY;
                info.session = *session.room();
                info.token = token.unwrap_or(0);
                if let Error::NotCarried(on) | Error::DependencyFailed { on, .. } = why {
                    info.on_session = *on.session.room();
                    info.on_token = on.token;
                    info.on_flags = on_device(on.of_device);
                }
            }
            Failure::Engine(_) => info.cause = CAUSE_INTERNAL,
        }
        info
    }

    /// One session, in the words of the ABI.
    #[must_use]
    pub fn describe_session(&self, id: SessionId) -> Option<SessionInfo> {
        self.sessions
            .get(id)
            .map(|session| self.session_entry(session))
    }

    fn session_entry(&self, session: &Session<H>) -> SessionInfo {
        let mut bytes = 0u64;
        let mut file = session.files.first;
        while let Some(current) = file.and_then(|id| self.files.get(id)) {
            bytes = bytes.saturating_add(current.bytes);
            file = current.links.next;
        }
        SessionInfo {
            files: session.files.len as u64,
            bytes,
            direction: match session.direction() {
                Direction::Outgoing => LIST_OUTGOING,
                Direction::Incoming => LIST_INCOMING,
            },
            state: match (session.direction(), session.state) {
                (Direction::Outgoing, _) if session.orphan || session.carries().is_some() => {
                    SESSION_CLOSED
                }
                (Direction::Outgoing, _) => SESSION_OPEN,
                (_, State::CLOSED_PENDING) => SESSION_UNFINISHED,
                (_, State::Unclaimed { .. }) => SESSION_UNCLAIMED,
                _ => SESSION_CLAIMED,
            },
            flags: match session.owner {
                Owner::Device => SESSION_OF_DEVICE,
                Owner::Program => 0,
            },
            reserved: 0,
            name: *session.name.room(),
        }
    }

    fn file_entry(&self, id: FileId) -> Option<FileInfo> {
        let file = self.files.get(id)?;
        let (status, error) = self.status_of(id);
        let handler = file.handler.and_then(|id| self.handlers.get(id));
        Some(FileInfo {
            token: file.token,
            bytes: file.bytes,
            status,
            error,
            dependencies: count32(self.graph.dependency_count(id)),
            dependents: count32(self.graph.dependent_count(id)),
            handler: handler.map_or([0; 48], |handler| *handler.name.room()),
        })
    }

    /// One of `FILE_*`, and an error number.
    fn status_of(&self, id: FileId) -> (u32, u32) {
        let Some(file) = self.files.get(id) else {
            return (FILE_MISSING, 0);
        };
        let status = match &file.way {
            FileWay::Outgoing(file) => match &file.stage {
                Stage::Reserved | Stage::Registered(None) | Stage::Preserved(None) => FILE_BUSY,
                Stage::Registered(Some(_)) => FILE_REGISTERED,
                Stage::Preserved(Some(_)) if file.frozen => FILE_FROZEN,
                Stage::Preserved(Some(_)) => FILE_PRESERVED,
            },
            FileWay::Incoming(file) => match file.arrived.as_ref().map(|file| &file.progress) {
                Some(Progress::Waiting | Progress::Wide(_)) => FILE_INCOMING,
                None | Some(Progress::Retrieving) => FILE_BUSY,
                Some(Progress::Done(_)) => FILE_RETRIEVED,
                Some(Progress::Failed(errno)) => {
                    return (FILE_FAILED, errno.get().unsigned_abs());
                }
            },
        };
        (status, 0)
    }

    fn page_of_files(
        &self,
        session: SessionId,
        cursor: u64,
        room: usize,
        page: &mut Page<FileInfo>,
    ) -> Result<(), Error> {
        let files = &self.sessions.get(session).ok_or(Error::NoSession)?.files;
        page.total = files.len as u64;
        let mut last = 0;
        let mut next = match cursor {
            0 => files.first,
            bits => {
                let file = self.files.get(FileId::from_bits(bits));
                let file = file.filter(|file| file.session == session);
                file.ok_or(Error::Stale)?.links.next
            }
        };
        while let Some(id) = next {
            let entry = self.file_entry(id).ok_or(Error::Inconsistent)?;
            if !page.add(room, entry)? {
                page.next = last;
                return Ok(());
            }
            last = id.to_bits();
            next = self.files.get(id).and_then(|file| file.links.next);
        }
        Ok(())
    }

    fn page_of_arrived(
        &self,
        cursor: u64,
        room: usize,
        page: &mut Page<FileInfo>,
    ) -> Result<(), Error> {
        let of_device = |session: &Session<H>| session.owner == Owner::Device;
        let all = files_of(&self.sessions, &self.files, &self.incoming, of_device);
        page.total = all.clone().count() as u64;
        let mut rest = all.peekable();
        if cursor != 0 {
            let last = FileId::from_bits(cursor);
            // It may have been finished since.
            rest.find(|&id| id == last).ok_or(Error::Stale)?;
        }
        let mut last = 0;
        for id in rest {
            let entry = self.file_entry(id).ok_or(Error::Inconsistent)?;
            if !page.add(room, entry)? {
                page.next = last;
                return Ok(());
            }
            last = id.to_bits();
        }
        Ok(())
    }

    fn page_of_dependencies(
        &self,
        id: FileId,
        cursor: u64,
        room: usize,
        page: &mut Page<DependencyInfo>,
    ) -> Result<(), Error> {
        page.total = self.graph.dependency_count(id) as u64;
        if cursor == 0 {
            return self.add_dependencies(self.graph.dependencies(id), room, page);
        }
        let edge = EdgeId::from_bits(cursor);
        let rest = self.graph.dependencies_after(id, edge);
        self.add_dependencies(rest.ok_or(Error::Stale)?, room, page)
    }

    fn add_dependencies(
        &self,
        all: impl Iterator<Item = (EdgeId, Target)>,
        room: usize,
        page: &mut Page<DependencyInfo>,
    ) -> Result<(), Error> {
        let mut last = 0;
        for (edge, target) in all {
            let (name, status) = match target {
                Target::Gone(name) => (name, FILE_MISSING),
                Target::File(on) => {
                    let name = self.file_name(on).ok_or(Error::Inconsistent)?;
                    (name, self.status_of(on).0)
                }
            };
            let entry = DependencyInfo {
                token: name.token,
                status,
                flags: on_device(name.of_device),
                session: *name.session.room(),
            };
            if !page.add(room, entry)? {
                page.next = last;
                return Ok(());
            }
            last = edge.to_bits();
        }
        Ok(())
    }

    fn page_of_sessions(
        &self,
        which: u32,
        cursor: u64,
        room: usize,
        page: &mut Page<SessionInfo>,
    ) -> Result<(), Error> {
        let wanted = |bit: u32| which == 0 || which & bit != 0;
        let lists = [
            (LIST_OUTGOING, &self.outgoing, Direction::Outgoing),
            (LIST_INCOMING, &self.incoming, Direction::Incoming),
        ];
        let mut start = None;
        if cursor != 0 {
            let session = self.sessions.get(SessionId::from_bits(cursor));
            let session = session.ok_or(Error::Stale)?;
            start = Some((session.direction(), session.links.next));
        }
        let mut last = 0;
        for (bit, list, direction) in lists {
            if !wanted(bit) {
                continue;
            }
            // Of a finished session only the descriptor is left.
            let count = match direction {
                Direction::Outgoing => list.len,
                Direction::Incoming => self.unfinished,
            };
            page.total = page.total.saturating_add(count as u64);
            let mut next = match start {
                None => list.first,
                // The list of the cursor goes on; one before it is through.
                Some((at, next)) if at == direction => next,
                Some((Direction::Outgoing, _)) => list.first,
                Some((Direction::Incoming, _)) => None,
            };
            while let Some((id, session)) = next.and_then(|id| Some((id, self.sessions.get(id)?))) {
                if page.next != 0 {
                    break;
                }
                next = session.links.next;
                if session.is_finished() {
                    continue;
                }
                if !page.add(room, self.session_entry(session))? {
                    page.next = last;
                    break;
                }
                last = id.to_bits();
            }
        }
        Ok(())
    }

    fn page_of_participants(
        &self,
        cursor: u64,
        room: usize,
        page: &mut Page<ParticipantInfo>,
    ) -> Result<(), Error> {
        let entry = |kind, files: u64, name: &[u8; 48]| ParticipantInfo {
            files,
            kind,
            reserved: 0,
            name: *name,
        };
        let handlers = self.handlers.iter().filter(|(_, h)| h.registered);
        let handlers =
            handlers.map(|(_, h)| entry(PARTICIPANT_FILE_HANDLER, h.files as u64, h.name.room()));
        let flbs = self
            .flbs
            .iter()
            .map(|(_, flb)| entry(PARTICIPANT_FLB, flb.outgoing.files, flb.name.room()));
        let subsystems = self.subsystems.iter();
        let subsystems = subsystems.map(|s| entry(PARTICIPANT_SUBSYSTEM, 0, s.name.room()));
        let begin = usize::try_from(cursor).unwrap_or(usize::MAX);
        let mut full = false;
        for (at, entry) in handlers.chain(flbs).chain(subsystems).enumerate() {
            page.total = page.total.saturating_add(1);
            if at >= begin && !full && !page.add(room, entry)? {
                page.next = at as u64;
                full = true;
            }
        }
        Ok(())
    }
}

const fn on_device(of_device: bool) -> u32 {
    if of_device {
        DEPENDENCY_ON_DEVICE
    } else {
        0
    }
}
