// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Making, retrieving and closing sessions.

use core::task::{ready, Poll};

use super::finish::finish_claimed;
use super::preserve::unpreserve_last;
use crate::block::Room;
use crate::engine::{Engine, Phase};
use crate::error::Error;
use crate::host::Host;
use crate::id::SessionId;
use crate::session::{Direction, State};
use crate::text::SessionName;

/// Makes an outgoing session.
///
/// # Errors
/// [`Error::SessionExists`], [`Error::Full`] at 510,000 sessions,
/// [`Error::Frozen`], [`Error::NoMemory`], or what the host's memory says.
pub fn create_session<H: Host>(host: &H, name: &SessionName) -> Result<SessionId, Error> {
    // A page that turns out not to be needed is dropped here, without the lock.
    let mut spare = None;
    loop {
        let attempt = host.with(|engine| {
            ready!(engine.changeable())?;
            Poll::Ready(engine.try_create(name, &mut spare))
        })?;
        match attempt {
            Some(id) => return Ok(id),
            None => spare = Some(host.alloc_block()?),
        }
    }
}

/// Takes an incoming session by its name.
///
/// # Errors
/// [`Error::NoSession`], [`Error::AlreadyRetrieved`], [`Error::Frozen`].
pub fn retrieve_session<H: Host>(host: &H, name: &SessionName) -> Result<SessionId, Error> {
    host.with(|engine| {
        ready!(engine.changeable())?;
        let Some(id) = engine.find_session(Direction::Incoming, name) else {
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
/// While the machine is frozen the session stays untouched, and goes if the
/// freeze is undone.
///
/// # Errors
/// [`Error::CannotFinish`] for an incoming session that stays. The host tells
/// somebody: whoever closed the descriptor will not look.
pub fn close_session<H: Host>(host: &H, id: SessionId) -> Result<(), Error> {
    let claimed = host.with(|engine| {
        if engine.phase == Phase::Frozen {
            engine.orphan(id);
            return Poll::Ready(Ok::<_, Error>(None));
        }
        ready!(engine.claim_session(id))?;
        let info = engine.session_info(id);
        Poll::Ready(Ok(info.map(|(_, direction)| direction)))
    })?;
    match claimed {
        None => return Ok(()),
        Some(Direction::Outgoing) => while unpreserve_last(host, id) {},
        Some(Direction::Incoming) => return end_incoming(host, id),
    }
    remove_claimed(host, id);
    Ok(())
}

/// Tries again to finish a session that was closed while a handler did not let
/// go. Nothing happens to one that somebody has retrieved meanwhile.
///
/// # Errors
/// As [`close_session`], and [`Error::Frozen`].
pub(super) fn retry_close<H: Host>(host: &H, id: SessionId) -> Result<(), Error> {
    let claimed = host.with(|engine| {
        // It does not wait for the end of a freeze: an open of a device may hold
        // locks that handlers need meanwhile.
        if engine.phase != Phase::Normal {
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

fn remove_claimed<H: Host>(host: &H, id: SessionId) {
    // What the session held is dropped after the lock is.
    let gone = host.with(|engine| {
        engine.mark_idle(id);
        let session = engine.remove_session(id);
        let outgoing = engine.outgoing.len;
        let page = engine.chain.surplus(outgoing);
        Poll::Ready((session, page))
    });
    drop(gone);
}

impl<H: Host> Engine<H> {
    /// Makes a session, or `None` if a page is wanted first.
    fn try_create(
        &mut self,
        name: &SessionName,
        spare: &mut Option<H::Block>,
    ) -> Result<Option<SessionId>, Error> {
        if self.root.is_none() {
            return Err(Error::NotReady);
        }
        if self.find_session(Direction::Outgoing, name).is_some() {
            return Err(Error::SessionExists);
        }
        let records = self.outgoing.len.saturating_add(1);
        match self.chain.reserve(records, spare)? {
            Room::WantsBlock => Ok(None),
            Room::Ready => {
                let made = self.add_session(*name, Direction::Outgoing);
                if made.is_err() {
                    // The page goes back to the caller, who drops it.
                    *spare = self.chain.surplus(self.outgoing.len);
                }
                made.map(Some)
            }
        }
    }

    fn orphan(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.orphan = true;
        }
    }
}
