// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Carrying on sessions that nobody has claimed.
//!
//! A machine that goes on to another kernel before everybody has come back must
//! not lose those who have not. Each session that nobody has claimed is restored
//! inside the kernel, what files need first, and preserved again in an outgoing
//! session of the same name with the same tokens and dependencies. If the reboot
//! fails, those sessions go and the incoming ones are there as before, to be
//! claimed, their files restored already. A session that was closed and could not be
//! finished because a file of another needs it goes on with that one, closed.

use crate::engine::{files_of, Engine};
use crate::error::Error;
use crate::failure::Failure;
use crate::graph::{First, Order, Target};
use crate::host::{Access, FileCallbacks, Host};
use crate::id::{EdgeId, FileId, HandlerId, SessionId};
use crate::lock::Lock;
use crate::session::dependency::declare_in_transition;
use crate::session::open::create_in_transition;
use crate::session::preserve::{
    install, preserve_source, remove_preserved, reserve_in_transition, trim_records,
};
use crate::session::retrieve::retrieve_in_transition;
use crate::session::{Direction, File, Session, SessionKind, Source, State};
use crate::update::takeover::take_over;
use crate::update::Report;

/// The administrator's choice for sessions that nobody has claimed when the machine goes
/// on to another kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclaimed {
    /// They are carried on; what cannot be carried vetoes the reboot.
    Carry,
    /// Sessions that cannot be carried are discarded.
    Discard,
}

/// Why one session cannot be carried on.
struct Obstacle {
    session: SessionId,
    token: Option<u64>,
    why: Error,
}

/// Carries on all sessions that nobody has claimed, or none.
///
/// # Errors
/// [`Failure::Carry`] names the first that cannot be, [`Failure::Engine`] if the
/// previous kernel's sessions cannot be read. Not with [`Unclaimed::Discard`],
/// which leaves behind what cannot be carried.
pub(crate) fn carry<H: Lock>(
    host: &H,
    unclaimed: Unclaimed,
    report: &mut Report,
) -> Result<(), Failure> {
    if let Err((why, _)) = take_over(host) {
        return match unclaimed {
            Unclaimed::Carry => Err(why.into()),
            Unclaimed::Discard => Ok(()),
        };
    }
    // A session that could not be carried by an earlier attempt may be carried now.
    host.now(|engine| {
        engine.leave_none_behind();
    });
    // Each turn leaves at least one more session behind, or is the last.
    while let Err(obstacle) = carry_all(host, unclaimed, report) {
        uncarry(host);
        match unclaimed {
            Unclaimed::Carry => return Err(host.now(|e| e.cannot_carry(&obstacle))),
            Unclaimed::Discard => leave_behind(host, obstacle.session),
        }
    }
    Ok(())
}

fn leave_behind<H: Lock>(host: &H, id: SessionId) {
    host.now(|engine| {
        let session = engine.sessions.get_mut(id);
        if let Some(incoming) = session.and_then(Session::incoming_mut) {
            incoming.left_behind = true;
        }
    });
}

/// All that can be checked is checked before the first file is restored: what fails
/// to be restored is lost to its owner as well.
fn carry_all<H: Lock>(host: &H, unclaimed: Unclaimed, report: &mut Report) -> Result<(), Obstacle> {
    report.carried = 0;
    let mut session = host.now(|engine| engine.next_carried(None));
    while let Some(id) = session {
        session = host.now(|engine| engine.next_carried(Some(id)));
        match (carry_session(host, id), unclaimed) {
            (Ok(()), _) => report.carried = report.carried.saturating_add(1),
            // Nothing has been done for it yet, so nothing is to be undone.
            (Err(_), Unclaimed::Discard) => leave_behind(host, id),
            (Err(why), Unclaimed::Carry) => {
                return Err(Obstacle {
                    session: id,
                    token: None,
                    why,
                });
            }
        }
    }
    if report.carried == 0 {
        return Ok(());
    }
    // The tokens first, so that the files stand in the order they stood in.
    let mut next = host.now(|engine| engine.next_carried_file(None));
    while let Some(id) = next {
        next = host.now(|engine| engine.next_carried_file(Some(id)));
        if let Some(place) = host.now(|engine| engine.place_of(id)) {
            let reserved = reserve_in_transition(host, place.to, place.token);
            reserved.map_err(|why| Obstacle {
                session: place.from,
                token: Some(place.token),
                why,
            })?;
        }
    }
    // Then what they need: it may be what is not carried on.
    let mut next = host.now(|engine| engine.next_carried_file(None));
    while let Some(id) = next {
        next = host.now(|engine| engine.next_carried_file(Some(id)));
        if let Some(place) = host.now(|engine| engine.place_of(id)) {
            carry_dependencies(host, id, &place).map_err(|why| Obstacle {
                session: place.from,
                token: Some(place.token),
                why,
            })?;
        }
    }
    let mut next = host.now(|engine| engine.arrange_carried().first);
    while let Some(id) = next {
        next = host.now(|engine| engine.graph.next_in_order(id));
        // Always there: nobody else changes anything now.
        if let Some(place) = host.now(|engine| engine.place_of(id)) {
            carry_file(host, id, &place).map_err(|why| Obstacle {
                session: place.from,
                token: Some(place.token),
                why,
            })?;
        }
    }
    Ok(())
}

/// Makes the outgoing session that carries an incoming one on.
fn carry_session<H: Lock>(host: &H, id: SessionId) -> Result<(), Error> {
    let kind = host.now(|engine| {
        let session = engine.sessions.get(id);
        session.map(|session| SessionKind {
            name: session.name,
            owner: session.owner,
            closed: session.state == State::CLOSED_PENDING,
        })
    });
    let made = create_in_transition(host, kind.ok_or(Error::Inconsistent)?)?;
    host.now(|engine| {
        let session = engine.sessions.get_mut(made);
        if let Some(outgoing) = session.and_then(Session::outgoing_mut) {
            outgoing.carries = Some(id);
        }
    });
    Ok(())
}

/// Restores a file and preserves it again; what it needs is carried already.
fn carry_file<H: Lock>(host: &H, id: FileId, place: &Place) -> Result<(), Error> {
    let file = retrieve_in_transition(host, id)?;
    let source = host.now(|engine| engine.source_of(host, id, &file));
    let (handler, source) = source.ok_or(Error::OwnerGone)?;
    let bytes = source.handler.bytes(host, &source.file);
    let copy = host.now(|engine| engine.find_file(place.to, place.token));
    let copy = copy.ok_or(Error::Inconsistent)?;
    host.now(|engine| engine.move_object(id, copy, handler, bytes, place.access))?;
    let made = preserve_source(host, handler, source).map_err(|(why, source)| {
        drop(source);
        why
    })?;
    install(host, copy, made);
    Ok(())
}

/// Declares what a file's copy needs, in the order it was declared in.
fn carry_dependencies<H: Lock>(host: &H, id: FileId, place: &Place) -> Result<(), Error> {
    let copy = host.now(|engine| engine.find_file(place.to, place.token));
    let copy = copy.ok_or(Error::Inconsistent)?;
    let mut last = None;
    while let Some((edge, on)) = host.now(|engine| engine.next_needed(id, last)) {
        let on = host.now(|engine| engine.copy_of(on))?;
        declare_in_transition(host, copy, on)?;
        last = Some(edge);
    }
    Ok(())
}

/// Undoes [`carry`]: the incoming sessions are as they were.
pub(crate) fn uncarry<H: Lock>(host: &H) {
    let mut next = host.now(|engine| engine.arrange_copies().last);
    while let Some(id) = next {
        next = host.now(|engine| engine.graph.prev_in_order(id));
        let session = host.now(|engine| engine.files.get(id).map(|f| f.session));
        if let Some(session) = session {
            remove_preserved(host, session, id);
        }
    }
    while let Some((id, from)) = host.now(|engine| engine.last_carrier()) {
        let gone = host.now(|engine| {
            let session = engine.remove_session(id);
            let outgoing = engine.outgoing.len;
            let page = engine.chain.surplus(outgoing);
            engine.reclaim_objects(from);
            (session, page)
        });
        drop(gone);
        trim_records(host);
    }
}

/// Where a file is carried to.
struct Place {
    from: SessionId,
    token: u64,
    to: SessionId,
    access: Access,
}

fn is_carried<H: Host>(session: &Session<H>) -> bool {
    // One that is closed belongs to nobody and goes on only with those who need it.
    session.incoming().is_some_and(|incoming| {
        let wanted = session.state == State::UNCLAIMED
            || (session.state == State::CLOSED_PENDING && incoming.needed);
        wanted && !incoming.left_behind && !incoming.finished
    })
}

impl<H: Host> Engine<H> {
    fn cannot_carry(&self, obstacle: &Obstacle) -> Failure {
        match self.session_info(obstacle.session) {
            Some((session, _)) => Failure::Carry {
                session,
                token: obstacle.token,
                why: obstacle.why,
            },
            None => Failure::Engine(obstacle.why),
        }
    }

    fn leave_none_behind(&mut self) {
        let mut next = self.incoming.first;
        while let Some(session) = next.and_then(|id| self.sessions.get_mut(id)) {
            next = session.links.next;
            if let Some(incoming) = session.incoming_mut() {
                incoming.left_behind = false;
            }
        }
        // Closed sessions whose files others need go on with those others.
        let mut next = self.incoming.first;
        while let Some((id, session)) = next.and_then(|id| Some((id, self.sessions.get(id)?))) {
            next = session.links.next;
            if session.state != State::CLOSED_PENDING {
                continue;
            }
            let needed = self.needed_elsewhere(id).is_err();
            let session = self.sessions.get_mut(id);
            if let Some(incoming) = session.and_then(Session::incoming_mut) {
                incoming.needed = needed;
            }
        }
    }

    /// The next incoming session behind `after` that is to be carried on.
    fn next_carried(&self, after: Option<SessionId>) -> Option<SessionId> {
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
    fn next_carried_file(&self, after: Option<FileId>) -> Option<FileId> {
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
    fn arrange_carried(&mut self) -> Order {
        let files = &self.files;
        let all = files_of(&self.sessions, files, &self.incoming, is_carried::<H>);
        let all = all.filter(|&id| files.get(id).is_some_and(|file| !file.is_handed()));
        self.graph.arrange(all, First::Dependencies)
    }

    /// Puts the copies of files that are carried on in order.
    fn arrange_copies(&mut self) -> Order {
        let carries = |session: &Session<H>| session.carries().is_some();
        let all = files_of(&self.sessions, &self.files, &self.outgoing, carries);
        self.graph.arrange(all, First::Dependencies)
    }

    fn place_of(&self, id: FileId) -> Option<Place> {
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

    /// A restored file with its handler, pinned, to be preserved.
    fn source_of(
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
    fn move_object(
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
        copy.bytes = bytes;
        copy.access = access;
        // A file whose object was indexed by somebody else has none.
        let object = self.files.get(from).and_then(|file| file.object);
        let object = object.ok_or(Error::AlreadyPreserved)?;
        self.unindex_object(from);
        let file = self.files.get_mut(from);
        if let Some(incoming) = file.and_then(File::as_incoming_mut) {
            incoming.lent_object = Some(object);
        }
        self.index_object(to, object)
    }

    /// The files of a session whose objects were lent to copies have them again.
    fn reclaim_objects(&mut self, session: SessionId) {
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

    /// The next dependency of a file behind `after`.
    fn next_needed(&self, id: FileId, after: Option<EdgeId>) -> Option<(EdgeId, Target)> {
        match after {
            None => self.graph.dependencies(id).next(),
            Some(edge) => self.graph.dependencies_after(id, edge)?.next(),
        }
    }

    /// The copy of a file that is carried on.
    fn copy_of(&self, target: Target) -> Result<FileId, Error> {
        let id = match target {
            Target::File(id) => id,
            Target::Gone(name) => return Err(Error::NotCarried(name)),
        };
        let name = self.file_name(id).ok_or(Error::Inconsistent)?;
        let file = self.files.get(id);
        let copy = file.and_then(|file| self.find_file(self.carrier_of(file.session)?, file.token));
        copy.ok_or(Error::NotCarried(name))
    }

    /// The outgoing session that carries an incoming one on.
    pub(crate) fn carrier_of(&self, id: SessionId) -> Option<SessionId> {
        let (name, _) = self.session_info(id)?;
        let to = self.find_session(Direction::Outgoing, &name)?;
        let carries = self.sessions.get(to)?.carries();
        (carries == Some(id)).then_some(to)
    }

    /// The last session made to carry another on, and that one. They were made
    /// after all others: nobody makes sessions during a transition or in FROZEN.
    fn last_carrier(&self) -> Option<(SessionId, SessionId)> {
        let id = self.outgoing.last?;
        let from = self.sessions.get(id)?.carries()?;
        Some((id, from))
    }
}
