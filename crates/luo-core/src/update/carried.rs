// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The engine's knowledge of sessions that are carried on: which ones they are, in which order
//! their files go, and where to.
//!
//! Each function is one step under the lock; `carry` puts them together.

use crate::engine::{files_of, Engine};
use crate::error::Error;
use crate::failure::Failure;
use crate::graph::{First, Order, Target};
use crate::handover::Handover;
use crate::host::{Access, FileCallbacks, Host};
use crate::id::{EdgeId, FileId, HandlerId, SessionId};
use crate::session::{Direction, File, Lost, Session, Source};
use crate::update::Report;

/// Where a file is carried to.
pub(super) struct Place {
    pub(super) from: SessionId,
    pub(super) token: u64,
    pub(super) to: SessionId,
    pub(super) access: Access,
}

fn is_carried<H: Host>(session: &Session<H>) -> bool {
    // A closed session belongs to nobody, and goes on only if others need it.
    session.incoming().is_some_and(|incoming| {
        let wanted = session.is_unclaimed() || (session.is_closed_pending() && incoming.needed);
        let stays = incoming.left_behind || incoming.superseded;
        wanted && !stays && !incoming.finished
    })
}

impl<H: Host> Engine<H> {
    pub(super) fn cannot_carry(
        &self,
        session: SessionId,
        token: Option<u64>,
        why: Error,
    ) -> Failure {
        match self.session_info(session) {
            Some((session, _)) => Failure::Carry {
                session,
                token,
                why,
            },
            None => Failure::Engine(why),
        }
    }

    /// Notes which incoming sessions stay behind because a new one has their name, and
    /// which that are closed go on with those that need their files.
    pub(super) fn look_who_stays(&mut self) {
        let mut next = self.incoming.first;
        while let Some((id, session)) = next.and_then(|id| Some((id, self.sessions.get(id)?))) {
            next = session.links.next;
            let name = session.name;
            let superseded = self.find_session(Direction::Outgoing, &name).is_some();
            let closed = session.is_closed_pending();
            let needed = closed && self.is_needed_elsewhere(id);
            let session = self.sessions.get_mut(id);
            if let Some(incoming) = session.and_then(Session::incoming_mut) {
                // It may have been in the way of an earlier attempt only.
                incoming.left_behind = false;
                incoming.superseded = superseded;
                incoming.needed = needed;
            }
        }
    }

    fn is_needed_elsewhere(&self, id: SessionId) -> bool {
        let mut next = self.sessions.get(id).and_then(|s| s.files.first);
        while let Some(first) = next.filter(|_| self.graph.edge_count() > 0) {
            match self.needed_elsewhere(id, first) {
                Ok(behind) => next = behind,
                Err(_) => return true,
            }
        }
        false
    }

    pub(super) fn leave_behind(&mut self, id: SessionId) {
        let session = self.sessions.get_mut(id);
        if let Some(incoming) = session.and_then(Session::incoming_mut) {
            incoming.left_behind = true;
        }
    }

    /// The next incoming session behind `after` that is to be carried on.
    pub(super) fn next_carried(&self, after: Option<SessionId>) -> Option<SessionId> {
        let mut next = match after {
            None => self.incoming.first,
            Some(id) => self.sessions.get(id)?.links.next,
        };
        while let Some((id, session)) = next.and_then(|id| Some((id, self.sessions.get(id)?))) {
            if is_carried(session) {
                return Some(id);
            }
            next = session.links.next;
        }
        None
    }

    /// The file behind `after` that is carried on, as they stand in their sessions.
    pub(super) fn next_carried_file(&self, after: Option<FileId>) -> Option<FileId> {
        let (mut file, mut session) = match after {
            None => (None, None),
            Some(id) => {
                let file = self.files.get(id)?;
                (file.links.next, Some(file.session))
            }
        };
        loop {
            while let Some((id, entry)) = file.and_then(|id| Some((id, self.files.get(id)?))) {
                // A file that somebody got on the device is theirs.
                if !entry.is_handed() {
                    return Some(id);
                }
                file = entry.links.next;
            }
            session = self.next_carried(session);
            file = self.sessions.get(session?)?.files.first;
        }
    }

    /// Puts the files that are carried on in order.
    pub(super) fn arrange_carried(&mut self) -> Order {
        let files = &self.files;
        let all = files_of(&self.sessions, files, &self.incoming, is_carried::<H>);
        let all = all.filter(|&id| files.get(id).is_some_and(|file| !file.is_handed()));
        self.graph.arrange(all, First::Dependencies)
    }

    /// Puts the copies of files that are carried on in order.
    pub(super) fn arrange_copies(&mut self) -> Order {
        let carries = |session: &Session<H>| session.carries().is_some();
        let all = files_of(&self.sessions, &self.files, &self.outgoing, carries);
        self.graph.arrange(all, First::Dependencies)
    }

    /// The outgoing session that carries an incoming one on.
    fn carrier_of(&self, id: SessionId) -> Option<SessionId> {
        let (name, _) = self.session_info(id)?;
        let to = self.find_session(Direction::Outgoing, &name)?;
        let carries = self.sessions.get(to)?.carries();
        (carries == Some(id)).then_some(to)
    }

    /// The last session made to carry another on, and that one. They were made
    /// after all others: nobody makes sessions during a transition, or when the reboot
    /// has frozen everything.
    pub(super) fn last_carrier(&self) -> Option<(SessionId, SessionId)> {
        let id = self.outgoing.last?;
        let from = self.sessions.get(id)?.carries()?;
        Some((id, from))
    }

    pub(super) fn place_of(&self, id: FileId) -> Option<Place> {
        let file = self.files.get(id)?;
        let name = self.sessions.get(file.session)?.name;
        let to = self.find_session(Direction::Outgoing, &name)?;
        Some(Place {
            from: file.session,
            token: file.token,
            to,
            access: file.access,
        })
    }

    /// The copy of a file that is carried on.
    pub(super) fn copy_of(&self, target: Target) -> Result<FileId, Error> {
        let id = match target {
            Target::File(id) => id,
            Target::Gone(name) => return Err(Error::NotCarried(name)),
        };
        let name = self.file_name(id).ok_or(Error::Inconsistent)?;
        let file = self.files.get(id);
        let copy = file.and_then(|file| self.find_file(self.carrier_of(file.session)?, file.token));
        copy.ok_or(Error::NotCarried(name))
    }

    /// The next dependency of a file behind `after`.
    pub(super) fn next_needed(
        &self,
        id: FileId,
        after: Option<EdgeId>,
    ) -> Option<(EdgeId, Target)> {
        match after {
            None => self.graph.dependencies(id).next(),
            Some(edge) => self.graph.dependencies_after(id, edge)?.next(),
        }
    }

    /// Whether a user without privileges has the file back, whose session is closed.
    pub(super) fn is_back_with_user(&self, id: FileId) -> bool {
        let Some(file) = self.files.get(id) else {
            return false;
        };
        let session = self.sessions.get(file.session);
        let is_closed = session.is_some_and(Session::is_closed_pending);
        let incoming = file.as_incoming();
        is_closed && self.is_of_user(file.session) && incoming.is_some_and(|file| file.asked_for)
    }

    /// A file that an earlier reboot has lost is so in the next kernel, too. True if it
    /// is such a one, or its copy is lost already.
    pub(super) fn pass_on_loss(&mut self, id: FileId, copy: FileId) -> bool {
        let before = self.files.get(id).and_then(File::as_incoming);
        let before = before.and_then(|file| file.lost);
        let copy = self.files.get_mut(copy).and_then(File::as_outgoing_mut);
        let Some(copy) = copy else {
            return false;
        };
        if let Some(errno) = before {
            copy.lost = Some(Lost::Before(errno));
        }
        copy.lost.is_some()
    }

    /// A restored file with its handler, pinned, to be preserved.
    pub(super) fn source_of(
        &self,
        host: &H,
        id: FileId,
        restored: &H::File,
    ) -> Option<(HandlerId, Source<H>)> {
        let file = self.files.get(id)?;
        let arrived = file.as_incoming()?.arrived.as_ref()?;
        let handler = file.handler?;
        // Before the file is cloned, so that no clone is dropped under the lock.
        let pin = arrived.handler.pin(host)?;
        let source = Source {
            handler: arrived.handler.clone(),
            file: restored.clone(),
            pin,
        };
        Some((handler, source))
    }

    /// A restored file's object counts as preserved by its copy from here on.
    pub(super) fn move_object(
        &mut self,
        from: FileId,
        to: FileId,
        handler: HandlerId,
        bytes: u64,
        access: Access,
    ) -> Result<(), Error> {
        let entry = self.handlers.get_mut(handler).ok_or(Error::NoHandler)?;
        entry.files = entry.files.saturating_add(1);
        let copy = self.files.get_mut(to).ok_or(Error::Inconsistent)?;
        copy.handler = Some(handler);
        copy.access = access;
        self.set_bytes(to, bytes);
        // A file whose object was indexed by somebody else has none.
        let object = self.files.get(from).and_then(|file| file.object);
        let object = object.ok_or(Error::AlreadyPreserved)?;
        self.objects.reserve_at(self.files.last_beside(to.slot))?;
        self.unindex_object(from);
        let file = self.files.get_mut(from);
        if let Some(incoming) = file.and_then(File::as_incoming_mut) {
            incoming.lent_object = Some(object);
        }
        self.index_object(to, object)
    }

    /// The files of a session whose objects were lent to copies have them again.
    pub(super) fn reclaim_objects(&mut self, session: SessionId) {
        let mut next = self.sessions.get(session).and_then(|s| s.files.first);
        while let Some(id) = next {
            let Some(file) = self.files.get_mut(id) else {
                return;
            };
            next = file.links.next;
            let incoming = file.as_incoming_mut();
            if let Some(object) = incoming.and_then(|file| file.lent_object.take()) {
                // There is room: it was indexed a moment ago.
                let _ = self.index_object(id, object);
            }
        }
    }

    /// Counts the incoming sessions that end with this kernel.
    pub(crate) fn count_left(&self, report: &mut Report) {
        let mut session = self.incoming.first;
        while let Some((id, current)) = session.and_then(|id| Some((id, self.sessions.get(id)?))) {
            session = current.links.next;
            if self.carrier_of(id).is_some() {
                continue;
            }
            let superseded = current
                .incoming()
                .is_some_and(|incoming| incoming.superseded);
            let count = if superseded && current.is_unclaimed() {
                &mut report.superseded
            } else {
                &mut report.lost
            };
            *count = count.saturating_add(1);
        }
    }

    /// How many sessions are lost in a reboot: those that cannot be carried on, and those that
    /// somebody has claimed and not finished, with what is in them still. Who has one has it in
    /// this kernel alone; who has made a new one of its name has seen to it.
    pub(super) fn count_lost_sessions(&self) -> u64 {
        let mut lost = 0u64;
        let mut next = self.incoming.first;
        while let Some(session) = next.and_then(|id| self.sessions.get(id)) {
            next = session.links.next;
            let is_left = session.incoming().is_some_and(|of| of.left_behind);
            let is_held = session.is_claimed()
                && session.files.len > 0
                && self
                    .find_session(Direction::Outgoing, &session.name)
                    .is_none();
            lost = lost.saturating_add(u64::from(is_left || is_held));
        }
        lost
    }

    /// Whether the previous kernel left sessions that were not read.
    pub(crate) fn leaves_unread(&self) -> bool {
        match self.handover {
            Handover::Nothing | Handover::Taken => false,
            // Somebody is at it and does not come to an end.
            Handover::Working | Handover::Refused(_) => true,
            Handover::Waiting { fields, .. } => fields.sessions != 0,
        }
    }
}
