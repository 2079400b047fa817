// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Trying again to finish sessions that were closed while they could not be.

use core::task::Poll;

use crate::engine::Engine;
use crate::error::Error;
use crate::host::Host;
use crate::id::SessionId;
use crate::lock::Lock;
use crate::session::finish::Finishing;
use crate::session::remove::end_incoming;
use crate::session::scope::Scope;
use crate::session::together::finish_together;
use crate::session::Session;

/// The outcome of trying again.
#[derive(Clone, Copy, Default)]
pub(crate) struct Retried {
    /// How many still cannot be finished.
    pub(crate) left: usize,
    /// Whether one has been finished.
    pub(crate) some_went: bool,
}

/// Tries again to finish each session of a scope that was closed while it could not be
/// finished. A handler's time is spent only by calls of the owner of its file.
/// `report` is told of those that still cannot.
pub(crate) fn retry_closed<H: Lock>(
    host: &H,
    scope: Scope,
    mut report: impl FnMut(&Error),
) -> Retried {
    // Most often there are none.
    let none = host.now(|engine| {
        engine.begin_retry(scope);
        engine.closed_pending == 0
    });
    if none {
        return Retried::default();
    }
    let mut retried = Retried {
        left: 0,
        some_went: finish_together(host, scope),
    };
    let mut next = host.now(|engine| engine.next_closed_pending(scope, None));
    while let Some(id) = next {
        // Looked up first: the session may be gone afterwards.
        next = host.now(|engine| engine.next_closed_pending(scope, Some(id)));
        match retry_close(host, id) {
            Ok(went) => retried.some_went |= went,
            Err(why) => {
                report(&why);
                retried.left = retried.left.saturating_add(1);
            }
        }
    }
    retried
}

/// Tries again to finish a session that was closed while a handler did not let
/// go. Nothing happens to one that somebody has retrieved meanwhile. Whether it is finished
/// now.
///
/// # Errors
/// As [`crate::update::leave::close_session`], and [`Error::Frozen`].
fn retry_close<H: Lock>(host: &H, id: SessionId) -> Result<bool, Error> {
    let mut finishing = Finishing::of(id);
    let begun = host.now(|engine| {
        // It waits neither for the end of a freeze, because the caller may have been closing
        // another session, and a close must not wait so long; nor for a call that has this
        // session in its hands, which may be another's and take for ever. That one tries
        // itself, or restores a file for somebody who needs the session still.
        if engine.update.admits() != Poll::Ready(Ok(())) {
            return Err(Error::Frozen);
        }
        let session = engine.sessions.get(id);
        let waits = session.is_some_and(|s| s.is_closed_pending() && s.busy == 0);
        if !waits {
            return Ok(false);
        }
        match engine.lock_session(id) {
            Poll::Ready(locked) => locked?,
            Poll::Pending => return Ok(false),
        }
        finishing.begin(host, engine);
        Ok(true)
    })?;
    if begun {
        end_incoming(host, id, &mut finishing)?;
    }
    Ok(begun)
}

impl<H: Host> Engine<H> {
    /// The next incoming session of a scope behind `after` that waits to be finished.
    fn next_closed_pending(&self, scope: Scope, after: Option<SessionId>) -> Option<SessionId> {
        if self.closed_pending == 0 {
            return None;
        }
        self.next_closed(scope, after, Session::is_closed_pending)
    }
}
