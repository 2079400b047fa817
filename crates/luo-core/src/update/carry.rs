// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Carrying on sessions that nobody has claimed.
//!
//! A machine that goes on to another kernel before everybody has come back must
//! not lose those who have not. Each session that nobody has claimed is restored
//! inside the kernel, what files need first, and preserved again in an outgoing
//! session of the same name with the same tokens and dependencies. If the reboot
//! fails, those sessions go and the incoming ones are there as before, to be
//! claimed, their files restored already. A new session of the same name takes the place
//! of one that nobody has claimed. A session that was closed and could not be
//! finished because a file of another needs it goes on with that one, closed; but not a
//! file that its user has back, who could have made it as big as the machine, or never let
//! go of its lock.

use crate::engine::{files_of, Engine};
use crate::error::Error;
use crate::failure::Failure;
use crate::graph::{First, Order, Target};
use crate::handover::Handover;
use crate::host::{Access, FileCallbacks, Host};
use crate::id::{EdgeId, FileId, HandlerId, SessionId};
use crate::lock::Lock;
use crate::session::dependency::declare_in_transition;
use crate::session::open::create_in_transition;
use crate::session::preserve::{
    install, preserve_source, remove_preserved, reserve_in_transition, trim_records,
};
use crate::session::retrieve::retrieve_in_transition;
use crate::session::{Direction, File, Lost, Session, SessionKind, Source, State};
use crate::update::loss::{tell, Obstacle};
use crate::update::takeover::bring_over;
use crate::update::Report;
use crate::walk::{backwards, try_forwards};
use crate::within::Within;

/// The administrator's choice for sessions that nobody has claimed when the machine goes
/// on to another kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclaimed {
    /// They are carried on; what cannot be carried is dealt with as all that cannot go.
    Carry,
    /// What cannot be carried is lost, even where other obstacles veto.
    Discard,
}

impl Unclaimed {
    /// The words by which an administrator chooses, the default first.
    pub const WORDS: [&'static str; 2] = ["carry", "discard"];

    /// What is chosen by the first or the second word.
    #[must_use]
    pub const fn of(second: bool) -> Self {
        if second {
            Self::Discard
        } else {
            Self::Carry
        }
    }
}

/// Carries on all sessions that nobody has claimed. What cannot be carried is lost alone,
/// or fails all of it.
///
/// # Errors
/// Only where an obstacle vetoes: [`Failure::Carry`] names the first session that cannot
/// be carried, [`Failure::Engine`] says why the previous kernel's sessions cannot be read.
pub(crate) fn carry<H: Lock>(
    host: &H,
    obstacle: Obstacle,
    report: &mut Report,
) -> Result<(), Failure> {
    if let Err(why) = bring_over(host) {
        if obstacle == Obstacle::Vetoes {
            return Err(why.into());
        }
        return Ok(());
    }
    carry_all(host, obstacle, report).inspect_err(|_| uncarry(host))
}

/// All that can be checked is checked before the first file is restored: what fails
/// to be restored is lost to its owner as well.
fn carry_all<H: Lock>(host: &H, obstacle: Obstacle, report: &mut Report) -> Result<(), Failure> {
    host.now(|engine| {
        engine.look_who_stays();
    });
    let mut session = host.now(|engine| engine.next_carried(None));
    while let Some(id) = session {
        if let Err(why) = carry_session(host, id) {
            let why = host.now(|engine| engine.cannot_carry(id, None, why));
            let is_users = host.now(|engine| engine.is_of_user(id));
            if obstacle.about(is_users) == Obstacle::Vetoes {
                return Err(why);
            }
            tell(host, &why);
            host.now(|engine| engine.leave_behind(id));
        } else {
            report.carried = report.carried.saturating_add(1);
        }
        session = host.now(|engine| engine.next_carried(Some(id)));
    }
    if report.carried == 0 {
        return Ok(());
    }
    // The tokens first, so that the files stand in the order they stood in.
    each_carried(host, |id, place| {
        let reserved = reserve_in_transition(host, place.to, place.token);
        reserved.map(drop).or_else(|why| {
            let why = host.now(|engine| engine.cannot_carry(place.from, Some(place.token), why));
            // There is no place to tell it in: it is counted.
            obstacle.decide(host, id, why)?;
            host.now(|engine| engine.losses.files = engine.losses.files.saturating_add(1));
            Ok(())
        })
    })?;
    // Then what they need: it may be what is not carried on.
    each_carried(host, |id, place| {
        cannot_go(host, obstacle, place, carry_dependencies(host, id, place))
    })?;
    try_forwards(host, Engine::arrange_carried, |id| {
        // Always there: nobody else changes anything now.
        match host.now(|engine| engine.place_of(id)) {
            Some(place) => cannot_go(host, obstacle, &place, carry_file(host, id, &place)),
            None => Ok(()),
        }
    })
}

/// Does something for each file that is carried on.
fn each_carried<H: Lock>(
    host: &H,
    mut step: impl FnMut(FileId, &Place) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut next = host.now(|engine| engine.next_carried_file(None));
    while let Some(id) = next {
        next = host.now(|engine| engine.next_carried_file(Some(id)));
        if let Some(place) = host.now(|engine| engine.place_of(id)) {
            step(id, &place)?;
        }
    }
    Ok(())
}

/// Decides about a file of which a step of the carrying has failed.
fn cannot_go<H: Lock>(
    host: &H,
    obstacle: Obstacle,
    place: &Place,
    outcome: Result<(), Error>,
) -> Result<(), Failure> {
    let Err(why) = outcome else {
        return Ok(());
    };
    let (why, copy) = host.now(|engine| {
        let why = engine.cannot_carry(place.from, Some(place.token), why);
        (why, engine.find_file(place.to, place.token))
    });
    match copy {
        Some(copy) => obstacle.decide(host, copy, why),
        // Without a copy there is nothing to lose but what the engine itself lacks.
        None => Err(why),
    }
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
        engine.note_carrier(made, id);
    });
    Ok(())
}

/// Restores a file and preserves it again; what it needs is carried already, or lost.
fn carry_file<H: Lock>(host: &H, id: FileId, place: &Place) -> Result<(), Error> {
    let Some(copy) = host.now(|engine| engine.find_file(place.to, place.token)) else {
        return Ok(());
    };
    if host.now(|engine| engine.pass_on_loss(id, copy)) {
        return Ok(());
    }
    if let Some(Failure::Dependency { on, .. }) = host.now(|engine| engine.missed_by(copy)) {
        return Err(Error::NotCarried(on));
    }
    if host.now(|engine| engine.is_back_with_user(id)) {
        return Err(Error::UserHasIt);
    }
    let file = retrieve_in_transition(host, id)?;
    let source = host.now(|engine| engine.source_of(host, id, &file));
    let (handler, source) = source.ok_or(Error::OwnerGone)?;
    let bytes = source.handler.bytes(host, &source.file);
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
    let Some(copy) = host.now(|engine| engine.find_file(place.to, place.token)) else {
        return Ok(());
    };
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
    backwards(host, Engine::arrange_copies, |id| {
        let session = host.now(|engine| engine.files.get(id).map(|f| f.session));
        if let Some(session) = session {
            remove_preserved(host, Within::Transition, session, id);
        }
    });
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
        let stays = incoming.left_behind || incoming.superseded;
        wanted && !stays && !incoming.finished
    })
}

impl<H: Host> Engine<H> {
    fn cannot_carry(&self, session: SessionId, token: Option<u64>, why: Error) -> Failure {
        match self.session_info(session) {
            Some((session, _)) => Failure::Carry {
                session,
                token,
                why,
            },
            None => Failure::Engine(why),
        }
    }

    fn leave_behind(&mut self, id: SessionId) {
        let session = self.sessions.get_mut(id);
        if let Some(incoming) = session.and_then(Session::incoming_mut) {
            incoming.left_behind = true;
            self.losses.sessions = self.losses.sessions.saturating_add(1);
        }
    }

    /// Notes which incoming sessions stay behind because a new one has their name, and
    /// which that are closed go on with those that need their files.
    fn look_who_stays(&mut self) {
        let mut next = self.incoming.first;
        while let Some((id, session)) = next.and_then(|id| Some((id, self.sessions.get(id)?))) {
            next = session.links.next;
            let name = session.name;
            let superseded = self.find_session(Direction::Outgoing, &name).is_some();
            let closed = session.state == State::CLOSED_PENDING;
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

    /// Whether a user without privileges has the file back, whose session is closed.
    fn is_back_with_user(&self, id: FileId) -> bool {
        let Some(file) = self.files.get(id) else {
            return false;
        };
        let session = self.sessions.get(file.session);
        let is_closed = session.is_some_and(|session| session.state == State::CLOSED_PENDING);
        let incoming = file.as_incoming();
        is_closed && self.is_of_user(file.session) && incoming.is_some_and(|file| file.asked_for)
    }

    /// A file that an earlier reboot has lost is so in the next kernel, too. True if it
    /// is such a one, or its copy is lost already.
    fn pass_on_loss(&mut self, id: FileId, copy: FileId) -> bool {
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
    fn carrier_of(&self, id: SessionId) -> Option<SessionId> {
        let (name, _) = self.session_info(id)?;
        let to = self.find_session(Direction::Outgoing, &name)?;
        let carries = self.sessions.get(to)?.carries();
        (carries == Some(id)).then_some(to)
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
            let count = if superseded && current.state == State::UNCLAIMED {
                &mut report.superseded
            } else {
                &mut report.lost
            };
            *count = count.saturating_add(1);
        }
    }

    /// Whether the previous kernel left sessions that were not read.
    pub(crate) fn leaves_unread(&self) -> bool {
        match self.handover {
            Handover::Nothing | Handover::Taken => false,
            // Somebody is at it and does not come to an end.
            Handover::Working | Handover::Refused(_) => true,
            Handover::Waiting { fields, .. } | Handover::Incomplete { fields, .. } => {
                fields.sessions != 0
            }
        }
    }

    /// The last session made to carry another on, and that one. They were made
    /// after all others: nobody makes sessions during a transition, or when the reboot
    /// has frozen everything.
    fn last_carrier(&self) -> Option<(SessionId, SessionId)> {
        let id = self.outgoing.last?;
        let from = self.sessions.get(id)?.carries()?;
        Some((id, from))
    }
}
