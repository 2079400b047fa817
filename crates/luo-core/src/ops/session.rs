// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Making, retrieving and closing sessions.

use core::task::{ready, Poll};

use luo_abi::rfc::State as MachineState;

use super::end_of_update::end_if_all_finished;
use super::finish::finish_claimed;
use super::pages::with_pages;
use super::preserve::{trim_records, unpreserve_all};
use super::together::finish_together;
use crate::block::{Room, Spares};
use crate::engine::Engine;
use crate::error::Error;
use crate::host::Host;
use crate::id::SessionId;
use crate::session::{Direction, Owner, SessionKind, State};
use crate::text::SessionName;

/// Makes an outgoing session.
///
/// # Errors
/// [`Error::SessionExists`], [`Error::Full`] at 510,000 sessions,
/// [`Error::Prepared`], [`Error::Frozen`], [`Error::NoMemory`], or what the host's
/// memory says.
pub fn create_session<H: Host>(host: &H, name: &SessionName) -> Result<SessionId, Error> {
    make(host, |engine, spares| {
        engine.try_create(SessionKind::open(*name, Owner::Program), spares)
    })
}

/// Makes the session of an open instance of the device, for the files that are
/// registered there. Its name is made up and unique over the chain of kernels.
///
/// # Errors
/// As [`create_session`].
pub fn create_device_session<H: Host>(host: &H) -> Result<SessionId, Error> {
    loop {
        let made = make(host, |engine, spares| {
            let number = engine.device_sessions;
            let name = SessionName::of_device(engine.update_number, number)?;
            let made = engine.try_create(SessionKind::open(name, Owner::Device), spares);
            if !matches!(made, Ok(None)) {
                engine.device_sessions = number.checked_add(1).ok_or(Error::Full)?;
            }
            made
        });
        // Some program has taken such a name: the next number has another.
        if made != Err(Error::SessionExists) {
            return made;
        }
    }
}

/// Makes a session for a transition, which has everything for itself.
pub(super) fn create_in_transition<H: Host>(
    host: &H,
    kind: SessionKind,
) -> Result<SessionId, Error> {
    with_pages(host, |engine, spares| {
        Poll::Ready(engine.try_create(kind, spares))
    })
}

fn make<H: Host>(
    host: &H,
    mut create: impl FnMut(&mut Engine<H>, &mut Spares<H::Block>) -> Result<Option<SessionId>, Error>,
) -> Result<SessionId, Error> {
    with_pages(host, |engine, spares| {
        ready!(engine.machine.changeable())?;
        Poll::Ready(create(engine, spares))
    })
}

/// Takes an incoming session by its name.
///
/// # Errors
/// [`Error::NoSession`], [`Error::AlreadyRetrieved`], [`Error::Frozen`].
pub fn retrieve_session<H: Host>(host: &H, name: &SessionName) -> Result<SessionId, Error> {
    host.with(|engine| {
        ready!(engine.machine.claimable())?;
        let found = engine.find_session(Direction::Incoming, name);
        // The files of a device session are had by their tokens only.
        let found = found.filter(|&id| {
            let session = engine.sessions.get(id);
            session.is_some_and(|session| session.owner == Owner::Program)
        });
        let Some(id) = found else {
            return Poll::Ready(Err(Error::NoSession));
        };
        match engine.sessions.get(id).map(|session| session.state) {
            Some(State::Exclusive) => Poll::Pending,
            Some(State::Unclaimed { finish_pending }) => {
                engine.set_state(id, State::Claimed { finish_pending });
                Poll::Ready(Ok(id))
            }
            _ => Poll::Ready(Err(Error::AlreadyRetrieved)),
        }
    })
}

/// Undoes [`retrieve_session`] for a caller who could not be told of it. The
/// session keeps its files, can be retrieved again, and is finished by the next
/// [`super::open_device`] if it was to be.
pub fn put_back_session<H: Host>(host: &H, id: SessionId) {
    host.with(|engine| {
        let state = engine.sessions.get(id).map(|session| session.state);
        if let Some(State::Claimed { finish_pending }) = state {
            engine.set_state(id, State::Unclaimed { finish_pending });
        }
        Poll::Ready(())
    });
}

/// Ends a session whose last descriptor is closed.
///
/// An outgoing one is undone file by file, the last first. An incoming one is
/// finished; if a handler does not let go, the session stays, can be retrieved
/// again by its name, and is finished by the next [`super::open_device`].
/// While the machine is prepared or frozen an outgoing session stays untouched: it
/// goes over to the next kernel, or away if the update is cancelled. So does, while
/// it is frozen, an incoming one.
///
/// # Errors
/// [`Error::CannotFinish`] or [`Error::Needed`] for an incoming session that stays. The host tells
/// somebody: whoever closed the descriptor will not look.
pub fn close_session<H: Host>(host: &H, id: SessionId) -> Result<(), Error> {
    let claimed = host.with(|engine| {
        let info = engine.session_info(id);
        if engine.keeps(info.map(|(_, direction)| direction)) {
            engine.orphan(id);
            return Poll::Ready(Ok::<_, Error>(None));
        }
        ready!(engine.claim_session(id))?;
        Poll::Ready(Ok(info.map(|(_, direction)| direction)))
    })?;
    match claimed {
        None => return Ok(()),
        Some(Direction::Outgoing) => unpreserve_all(host, id),
        Some(Direction::Incoming) => {
            let ended = end_incoming(host, id);
            if let Err(Error::Needed { by, .. }) = &ended {
                host.with(|engine| {
                    engine.want_retry(id, &by.session);
                    Poll::Ready(())
                });
            }
            after_finish(host);
            // It may have been finished together with others.
            let gone = host.with(|engine| Poll::Ready(engine.sessions.get(id).is_none()));
            return if gone { Ok(()) } else { ended };
        }
    }
    remove_claimed(host, id);
    Ok(())
}

/// What follows once files of the previous kernel are finished: sessions that
/// waited for them are tried again, and the update ends if it was the last.
pub(super) fn after_finish<H: Host>(host: &H) {
    while host.with(|engine| Poll::Ready(core::mem::take(&mut engine.retry_wanted))) {
        // What still cannot be finished is tried and reported by the next open.
        retry_unfinished(host, |_| ());
    }
    end_if_all_finished(host);
}

/// Tries again to finish each session that was closed while it could not be;
/// `report` is told of those that still cannot. Answers with how many.
pub(super) fn retry_unfinished<H: Host>(host: &H, mut report: impl FnMut(&Error)) -> usize {
    let mut unfinished = 0usize;
    finish_together(host);
    let mut next = host.with(|engine| Poll::Ready(engine.next_unfinished(None)));
    while let Some(id) = next {
        // Looked up first: the session may be gone afterwards.
        next = host.with(|engine| Poll::Ready(engine.next_unfinished(Some(id))));
        if let Err(why) = retry_close(host, id) {
            report(&why);
            unfinished = unfinished.saturating_add(1);
        }
    }
    unfinished
}

/// Tries again to finish a session that was closed while a handler did not let
/// go. Nothing happens to one that somebody has retrieved meanwhile.
///
/// # Errors
/// As [`close_session`], and [`Error::Frozen`].
fn retry_close<H: Host>(host: &H, id: SessionId) -> Result<(), Error> {
    let claimed = host.with(|engine| {
        // It does not wait for the end of a freeze: an open of a device may hold
        // locks that handlers need meanwhile.
        if engine.machine.is_moving() || engine.state() == MachineState::Frozen {
            return Poll::Ready(Err(Error::Frozen));
        }
        match engine.sessions.get(id).map(|session| session.state) {
            Some(State::Exclusive) => Poll::Pending,
            Some(State::UNFINISHED) => engine.claim_session(id).map_ok(|_| true),
            _ => Poll::Ready(Ok::<_, Error>(false)),
        }
    })?;
    if claimed {
        end_incoming(host, id)
    } else {
        Ok(())
    }
}

/// Finishes and removes an incoming session that the caller has for itself.
fn end_incoming<H: Host>(host: &H, id: SessionId) -> Result<(), Error> {
    if let Err(why) = finish_claimed(host, id) {
        host.with(|engine| {
            engine.yield_session(id, State::UNFINISHED);
            Poll::Ready(())
        });
        return Err(why);
    }
    remove_claimed(host, id);
    Ok(())
}

pub(super) fn remove_claimed<H: Host>(host: &H, id: SessionId) {
    // What the session held is dropped after the lock is.
    let gone = host.with(|engine| {
        engine.mark_idle(id);
        let session = engine.remove_session(id);
        let outgoing = engine.outgoing.len;
        let page = engine.chain.surplus(outgoing);
        Poll::Ready((session, page))
    });
    drop(gone);
    trim_records(host);
}

impl<H: Host> Engine<H> {
    /// Makes a session, or `None` if a page is wanted first.
    pub(super) fn try_create(
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

    /// Whether a session that is closed now stays because of an update.
    fn keeps(&self, direction: Option<Direction>) -> bool {
        !self.machine.is_moving()
            && match self.state() {
                MachineState::Frozen => true,
                MachineState::Prepared => direction == Some(Direction::Outgoing),
                MachineState::Normal | MachineState::Updated => false,
            }
    }

    fn orphan(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.orphan = true;
        }
    }

    /// A session that was closed is needed by another. If that one was closed as
    /// well, the two may have to be finished together; if it has been finished
    /// since, nobody else knows that this one waits.
    fn want_retry(&mut self, id: SessionId, other: &SessionName) {
        self.retry_wanted |= self.needed_elsewhere(id).is_ok();
        let other = self.find_session(Direction::Incoming, other);
        let other = other.and_then(|id| self.sessions.get(id));
        self.retry_wanted |= other.is_some_and(|other| other.state == State::UNFINISHED);
    }

    /// The next incoming session behind `after` that waits to be finished.
    fn next_unfinished(&self, after: Option<SessionId>) -> Option<SessionId> {
        if self.pending_finishes == 0 {
            return None;
        }
        let mut next = match after {
            // One that is gone has no successor: the next open sees the rest.
            Some(after) => self.sessions.get(after)?.links.next,
            None => self.incoming.first,
        };
        while let Some((id, session)) = next.and_then(|id| Some((id, self.sessions.get(id)?))) {
            if session.state == State::UNFINISHED {
                return Some(id);
            }
            next = session.links.next;
        }
        None
    }
}
