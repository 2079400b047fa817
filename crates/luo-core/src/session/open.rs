// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Making and retrieving sessions.

use core::task::{ready, Poll};

use crate::engine::Engine;
use crate::error::Error;
use crate::handover::block::{Room, Spares};
use crate::host::Host;
use crate::id::SessionId;
use crate::lock::Lock;
use crate::owner::{Actor, Owner, Unowned};
use crate::quota::Quota;
use crate::session::pages::with_pages;
use crate::session::{Direction, Session, SessionKind};
use crate::text::SessionName;
use crate::waits::Topic;

/// Makes an outgoing session for [`crate::ops::create_session`], if no other has its name.
///
/// # Errors
/// As there.
pub(crate) fn create_if_free<H: Lock>(host: &H, kind: SessionKind) -> Result<SessionId, Error> {
    with_pages(host, |engine, spares| {
        ready!(engine.update.admits())?;
        if engine
            .find_session(Direction::Outgoing, &kind.name)
            .is_none()
        {
            engine.may_have(kind.owner, Quota::Sessions, 1)?;
        }
        Poll::Ready(engine.try_create(kind, spares))
    })
}

/// Makes the session of an open instance of the device, for the files that are
/// registered there. Its name is made up and unique over the chain of kernels.
///
/// # Errors
/// As [`crate::ops::create_session`], and [`Error::Prepared`].
pub fn create_device_session<H: Lock>(host: &H) -> Result<SessionId, Error> {
    loop {
        let made = with_pages(host, |engine, spares| {
            ready!(engine.update.changeable())?;
            let number = engine.device_sessions;
            let name = SessionName::of_device(engine.update_number, number)?;
            let made = engine.try_create(SessionKind::open(name, Owner::Device), spares);
            if !matches!(made, Ok(None)) {
                engine.device_sessions = number.checked_add(1).ok_or(Error::Full)?;
            }
            Poll::Ready(made)
        });
        // Some program has taken such a name: the next number has another.
        if made != Err(Error::SessionExists) {
            return made;
        }
    }
}

/// Makes a session for a transition, which has everything for itself.
pub(crate) fn create_in_transition<H: Lock>(
    host: &H,
    kind: SessionKind,
) -> Result<SessionId, Error> {
    with_pages(host, |engine, spares| {
        Poll::Ready(engine.try_create(kind, spares))
    })
}

/// Takes an incoming session by its name: the caller's own, or, if there is none of that
/// name and the administrator lets everybody have those, one that is nobody's. A caller with
/// privileges takes any, by its full name.
///
/// # Errors
/// [`Error::NoSession`], also if it is another's; [`Error::AlreadyRetrieved`],
/// [`Error::Frozen`].
pub fn retrieve_session<H: Lock>(
    host: &H,
    by: Actor,
    name: &SessionName,
) -> Result<SessionId, Error> {
    // A name that no session of the caller's can have may be one that is nobody's.
    let own = by.full_name(name).ok();
    host.wait_killable(|engine| {
        ready!(engine.update.admits())?;
        let own = own.and_then(|own| engine.find_arrived(by, &own));
        let Some(id) = own.or_else(|| engine.find_arrived(by, name)) else {
            return Poll::Ready(Err(Error::NoSession));
        };
        match engine.sessions.get(id) {
            Some(session) if session.locked => engine.update.waits.pend(Topic::Session(id)),
            Some(session) if !session.is_claimed() => {
                engine.set_claimed(id, true);
                Poll::Ready(Ok(id))
            }
            _ => Poll::Ready(Err(Error::AlreadyRetrieved)),
        }
    })?
}

/// Undoes [`retrieve_session`] for a caller who could not be told of it. The
/// session keeps its files, can be retrieved again, and is finished by the next
/// [`crate::ops::catch_up`] if it was to be.
pub fn put_back_session<H: Lock>(host: &H, id: SessionId) {
    host.now(|engine| {
        if engine.sessions.get(id).is_some_and(Session::is_claimed) {
            engine.set_claimed(id, false);
        }
    });
}

impl<H: Host> Engine<H> {
    /// The incoming session of a full name, if somebody may have it.
    fn find_arrived(&self, by: Actor, name: &SessionName) -> Option<SessionId> {
        let id = self.find_session(Direction::Incoming, name)?;
        let may = match (self.sessions.get(id)?.owner, by) {
            // The files of a device session are had by their tokens only.
            (Owner::Device, _) => false,
            (_, Actor::Administrator) => true,
            (Owner::Nobody, Actor::User(_)) => self.unowned == Unowned::Anybody,
            (owner, Actor::User(user)) => owner == Owner::User(user),
        };
        may.then_some(id)
    }

    /// Makes a session, or `None` if a page is wanted first.
    pub(crate) fn try_create(
        &mut self,
        kind: SessionKind,
        spares: &mut Spares<H::Block>,
    ) -> Result<Option<SessionId>, Error> {
        if self.root.is_none() {
            return Err(Error::NotReady);
        }
        if self.find_session(Direction::Outgoing, &kind.name).is_some() {
            return Err(Error::SessionExists);
        }
        match self.make_room_for_session(kind, spares)? {
            Room::WantsBlock => Ok(None),
            Room::Ready => {
                let made = self.add_session(kind);
                if made.is_err() {
                    // The pages go back to the caller, who drops them.
                    if let Some(page) = self.chain.surplus(self.outgoing.len) {
                        spares.add(page);
                    }
                    if let Some(page) = self.surplus_record_page() {
                        spares.add(page);
                    }
                }
                made.map(Some)
            }
        }
    }

    fn make_room_for_session(
        &mut self,
        kind: SessionKind,
        spares: &mut Spares<H::Block>,
    ) -> Result<Room, Error> {
        let wants_session = self.chain.wants(self.outgoing.len.saturating_add(1))?;
        let wants_record =
            kind.has_record() && self.record_chain.wants(self.records.saturating_add(1))?;
        let wanted = usize::from(wants_session).saturating_add(usize::from(wants_record));
        if wanted > spares.len() {
            return Ok(Room::WantsBlock);
        }
        self.chain.give(spares.take_if(wants_session));
        self.record_chain.give(spares.take_if(wants_record));
        Ok(Room::Ready)
    }
}
