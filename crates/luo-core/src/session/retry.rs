// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Trying again to finish sessions that were closed while they could not be.

use core::task::Poll;

use crate::engine::Engine;
use crate::error::Error;
use crate::host::Host;
use crate::id::SessionId;
use crate::lock::Lock;
use crate::session::remove::end_incoming;
use crate::session::together::finish_together;
use crate::session::State;

/// Tries again to finish each session that was closed while it could not be;
/// `report` is told of those that still cannot. Answers with how many.
pub(crate) fn retry_closed<H: Lock>(host: &H, mut report: impl FnMut(&Error)) -> usize {
    let mut unfinished = 0usize;
    finish_together(host);
    let mut next = host.now(|engine| engine.next_closed_pending(None));
    while let Some(id) = next {
        // Looked up first: the session may be gone afterwards.
        next = host.now(|engine| engine.next_closed_pending(Some(id)));
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
/// As [`crate::update::leave::close_session`], and [`Error::Frozen`].
fn retry_close<H: Lock>(host: &H, id: SessionId) -> Result<(), Error> {
    let claimed = host.wait(|engine| {
        // It does not wait for the end of a freeze: an open of a device may hold
        // locks that handlers need meanwhile.
        if engine.update.admits() != Poll::Ready(Ok(())) {
            return Poll::Ready(Err(Error::Frozen));
        }
        match engine.sessions.get(id).map(|session| session.state) {
            Some(State::Locked) => Poll::Pending,
            Some(State::CLOSED_PENDING) => engine.lock_session(id).map_ok(|_| true),
            _ => Poll::Ready(Ok::<_, Error>(false)),
        }
    })?;
    if claimed {
        end_incoming(host, id)
    } else {
        Ok(())
    }
}

impl<H: Host> Engine<H> {
    /// The next incoming session behind `after` that waits to be finished.
    fn next_closed_pending(&self, after: Option<SessionId>) -> Option<SessionId> {
        if self.closed_pending == 0 {
            return None;
        }
        let mut next = match after {
            // One that is gone has no successor: the next open sees the rest.
            Some(after) => self.sessions.get(after)?.links.next,
            None => self.incoming.first,
        };
        while let Some((id, session)) = next.and_then(|id| Some((id, self.sessions.get(id)?))) {
            if session.state == State::CLOSED_PENDING {
                return Some(id);
            }
            next = session.links.next;
        }
        None
    }
}
