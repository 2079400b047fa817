// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Changes of a session that are counted: who has it, and whether it is closed.

use crate::engine::Engine;
use crate::host::Host;
use crate::id::SessionId;
use crate::session::Session;
use crate::waits::Topic;

impl<H: Host> Engine<H> {
    pub(crate) fn set_locked(&mut self, id: SessionId, locked: bool) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if session.incoming().is_some_and(|incoming| !incoming.claimed) {
            return self.change_session(id, |session| session.locked = locked);
        }
        // One that somebody holds, or that is for the next kernel, is in none of the counts.
        if core::mem::replace(&mut session.locked, locked) {
            self.update.waits.wake(Topic::Session(id));
        }
    }

    /// Notes of an incoming session whether somebody holds it.
    pub(crate) fn set_claimed(&mut self, id: SessionId, claimed: bool) {
        self.change_session(id, |session| {
            if let Some(incoming) = session.incoming_mut() {
                incoming.claimed = claimed;
            }
        });
    }

    /// Notes that an incoming session is closed, and that a handler has not let go.
    pub(crate) fn set_closed_pending(&mut self, id: SessionId) {
        self.change_session(id, set_closed_pending);
    }

    /// Changes who has a session. Also updates `closed_pending` and `unclaimed`, and the lists of
    /// those that were closed.
    pub(crate) fn change_session(&mut self, id: SessionId, change: impl FnOnce(&mut Session<H>)) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let was_locked = session.locked;
        let was_closed = session.was_closed();
        let before = (session.is_closed_pending(), session.is_unclaimed());
        change(session);
        let after = (session.is_closed_pending(), session.is_unclaimed());
        let (is_closed, account) = (session.was_closed(), session.account);
        if was_locked {
            self.update.waits.wake(Topic::Session(id));
        }
        self.closed_pending = recount(self.closed_pending, before.0, after.0);
        self.unclaimed = recount(self.unclaimed, before.1, after.1);
        if let Some(account) = account.and_then(|id| self.accounts.get_mut(id)) {
            account.unclaimed = recount(account.unclaimed, before.1, after.1);
        }
        if is_closed && !was_closed {
            self.enlist_closed(id);
        }
    }
}

pub(crate) fn set_closed_pending<H: Host>(session: &mut Session<H>) {
    if let Some(incoming) = session.incoming_mut() {
        (incoming.claimed, incoming.closed_pending) = (false, true);
    }
}

/// A count of those of which something is true, when one of them has changed.
fn recount(count: usize, was: bool, is: bool) -> usize {
    count.saturating_sub(was.into()).saturating_add(is.into())
}
