// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Lists of sessions, files, dependencies and participants, in the words of the ABI.
//!
//! Lists are given in pages of limited size; the cursor of the next page is the id
//! of the last entry, so that a list goes on where it was even if others change it
//! meanwhile, and says so if that very entry is gone. A caller who is killed before it is its
//! turn gets EAGAIN.

use luo_abi::contract::{
    DependencyInfo, FileInfo, ParticipantInfo, SessionInfo, FILE_MISSING, LIST_INCOMING,
    LIST_OUTGOING, PARTICIPANT_AWAITED, PARTICIPANT_FILE_HANDLER, PARTICIPANT_FLB,
    PARTICIPANT_SUBSYSTEM,
};
use luo_abi::uapi::SESSION_NAME_LENGTH;

use crate::engine::Engine;
use crate::error::Error;
use crate::graph::Target;
use crate::host::Host;
use crate::id::{EdgeId, FileId, SessionId};
use crate::lock::Lock;
use crate::mem::Vec;
use crate::owner::Actor;
use crate::query::entries::on_device;
use crate::session::{Direction, Session};
use crate::text::SessionName;

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

    fn with_capacity(room: usize) -> Result<Self, Error> {
        Ok(Self {
            entries: Vec::with_capacity(room.min(MAX_PAGE))?,
            ..Self::empty()
        })
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
    let mut page = Page::with_capacity(room)?;
    host.now_killable(|engine| engine.page_of_files(session, cursor, room, &mut page))??;
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
    let mut page = Page::with_capacity(room)?;
    host.now_killable(|engine| engine.page_of_arrived(cursor, room, &mut page))??;
    Ok(page)
}

/// The dependencies of a file of a session, in the order they were declared in. Sessions
/// are named as the caller calls them.
///
/// # Errors
/// [`Error::NoToken`], [`Error::Stale`], [`Error::NoMemory`].
pub fn list_dependencies<H: Lock>(
    host: &H,
    by: Actor,
    session: SessionId,
    token: u64,
    cursor: u64,
    room: usize,
) -> Result<Page<DependencyInfo>, Error> {
    let mut page = Page::with_capacity(room)?;
    host.now_killable(|engine| {
        let id = engine.find_file(session, token).ok_or(Error::NoToken)?;
        engine.page_of_dependencies(id, cursor, room, &mut page)
    })??;
    for entry in page.entries.iter_mut() {
        entry.session = name_for(by, &entry.session);
    }
    Ok(page)
}

/// The name by which a caller knows the session of an entry.
fn name_for(by: Actor, name: &[u8; SESSION_NAME_LENGTH]) -> [u8; SESSION_NAME_LENGTH] {
    match (by, SessionName::parse(name)) {
        (Actor::User(_), Ok(full)) => *by.name_of(&full).room(),
        _ => *name,
    }
}

/// All sessions that are not finished, the outgoing ones first; of a user's program those of
/// the user alone, by the short names. `which` is [`LIST_OUTGOING`],
/// [`LIST_INCOMING`] or both, 0 for both.
///
/// # Errors
/// [`Error::Stale`], [`Error::NoMemory`].
pub fn list_sessions<H: Lock>(
    host: &H,
    by: Actor,
    which: u32,
    cursor: u64,
    room: usize,
) -> Result<Page<SessionInfo>, Error> {
    let mut page = Page::with_capacity(room)?;
    host.now_killable(|engine| engine.page_of_sessions(by, which, cursor, room, &mut page))??;
    for entry in page.entries.iter_mut() {
        entry.name = name_for(by, &entry.name);
    }
    Ok(page)
}

/// Handlers, FLBs and subsystems, and handlers that files wait for. They are few: the cursor counts them.
///
/// # Errors
/// [`Error::NoMemory`].
pub fn list_participants<H: Lock>(
    host: &H,
    cursor: u64,
    room: usize,
) -> Result<Page<ParticipantInfo>, Error> {
    let mut page = Page::with_capacity(room)?;
    host.now_killable(|engine| engine.page_of_participants(cursor, room, &mut page))??;
    Ok(page)
}

impl<H: Host> Engine<H> {
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
        page.total = self.files_of_device as u64;
        let (mut session, mut file) = match cursor {
            0 => (self.of_device.first, None),
            bits => {
                let file = self.files.get(FileId::from_bits(bits));
                let file = file.ok_or(Error::Stale)?;
                let session = self.sessions.get(file.session);
                // It may have been finished since.
                let arrived = |session: &&Session<H>| session.arrived_on_device();
                let session = session.filter(arrived).ok_or(Error::Stale)?;
                (session.own.next, file.links.next)
            }
        };
        let mut last = 0;
        loop {
            let Some(id) = file else {
                let Some(next) = session.and_then(|id| self.sessions.get(id)) else {
                    return Ok(());
                };
                (session, file) = (next.own.next, next.files.first);
                continue;
            };
            let entry = self.file_entry(id).ok_or(Error::Inconsistent)?;
            if !page.add(room, entry)? {
                page.next = last;
                return Ok(());
            }
            last = id.to_bits();
            file = self.files.get(id).and_then(|file| file.links.next);
        }
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
        by: Actor,
        which: u32,
        cursor: u64,
        room: usize,
        page: &mut Page<SessionInfo>,
    ) -> Result<(), Error> {
        let wanted = |bit: u32| which == 0 || which & bit != 0;
        let mut start = None;
        if cursor != 0 {
            let session = self.sessions.get(SessionId::from_bits(cursor));
            let shown = |s: &&Session<H>| by.sees(s.owner) && !s.is_finished();
            let session = session.filter(shown);
            let session = session.ok_or(Error::Stale)?;
            start = Some((session.direction(), Self::behind(by, session)));
        }
        let mut last = 0;
        for (bit, direction) in [
            (LIST_OUTGOING, Direction::Outgoing),
            (LIST_INCOMING, Direction::Incoming),
        ] {
            if !wanted(bit) {
                continue;
            }
            page.total = page.total.saturating_add(self.count_for(by, direction));
            let first = self.first_for(by, direction);
            let mut next = match start {
                None => first,
                // The list of the cursor goes on; one before it is through.
                Some((at, next)) if at == direction => next,
                Some((Direction::Outgoing, _)) => first,
                Some((Direction::Incoming, _)) => None,
            };
            while let Some((id, session)) = next.and_then(|id| Some((id, self.sessions.get(id)?))) {
                if page.next != 0 {
                    break;
                }
                next = Self::behind(by, session);
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
        let handlers = self.handlers.iter().filter(|(_, h)| h.is_registered());
        let handlers =
            handlers.map(|(_, h)| entry(PARTICIPANT_FILE_HANDLER, h.files as u64, h.name.room()));
        let flbs = self
            .flbs
            .iter()
            .map(|(_, flb)| entry(PARTICIPANT_FLB, flb.outgoing.files, flb.name.room()));
        let subsystems = self.subsystems.iter();
        let subsystems = subsystems.map(|s| entry(PARTICIPANT_SUBSYSTEM, 0, s.name.room()));
        let awaited = self.handlers.iter();
        let awaited = awaited.filter(|(_, h)| !h.is_registered() && h.waiting > 0);
        let awaited =
            awaited.map(|(_, h)| entry(PARTICIPANT_AWAITED, h.waiting as u64, h.name.room()));
        let begin = usize::try_from(cursor).unwrap_or(usize::MAX);
        let mut full = false;
        for (at, entry) in handlers
            .chain(flbs)
            .chain(subsystems)
            .chain(awaited)
            .enumerate()
        {
            page.total = page.total.saturating_add(1);
            if at >= begin && !full && !page.add(room, entry)? {
                page.next = at as u64;
                full = true;
            }
        }
        Ok(())
    }
}
