// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The sessions and files that calls under way have in their hands; see `crate::under_way`.

use core::task::Poll;

use crate::engine::changes::set_closed_pending;
use crate::engine::Engine;
use crate::error::Error;
use crate::host::Host;
use crate::id::{FileId, SessionId};
use crate::session::{File, Session, Stage};
use crate::text::SessionName;
use crate::under_way::Waiter;
use crate::waits::Topic;

impl<H: Host> Engine<H> {
    pub(crate) fn mark_busy(&mut self, id: SessionId) {
        // Whether events wait for a call on it.
        let mut is_awaited = false;
        if let Some(session) = self.sessions.get_mut(id) {
            session.busy = session.busy.saturating_add(1);
            is_awaited = session.owner.is_administrator();
        }
        match is_awaited {
            true => self.under_way.awaited = self.under_way.awaited.saturating_add(1),
            false => self.under_way.others = self.under_way.others.saturating_add(1),
        }
    }

    pub(crate) fn mark_idle(&mut self, id: SessionId) {
        let mut is_awaited = false;
        if let Some(session) = self.sessions.get_mut(id) {
            session.busy = session.busy.saturating_sub(1);
            is_awaited = session.owner.is_administrator();
            if session.busy == 0 {
                self.update.waits.wake(Topic::Session(id));
            }
        }
        if !is_awaited {
            return self.end_with_pages();
        }
        self.under_way.awaited = self.under_way.awaited.saturating_sub(1);
        if self.under_way.awaited == 0 {
            self.update.waits.wake(Topic::Idle);
        }
    }

    /// Takes a whole session for an operation, waiting for those on its files.
    pub(crate) fn lock_session(&mut self, id: SessionId) -> Poll<Result<(), Error>> {
        let free = self.is_free_to_lock(id);
        if matches!(free, Poll::Ready(Ok(()))) {
            self.take_session(id);
        }
        free
    }

    /// Whether the caller could have a session for itself now.
    ///
    /// # Errors
    /// As of [`Self::lock_session`].
    pub(crate) fn is_free_to_lock(&self, id: SessionId) -> Poll<Result<(), Error>> {
        match self.update.admits() {
            Poll::Ready(Ok(())) => {}
            waits_or_fails => return waits_or_fails,
        }
        match self.sessions.get(id) {
            None => Poll::Ready(Err(Error::NoSession)),
            Some(session) if session.busy > 0 || session.locked => {
                self.update.waits.pend(Topic::Session(id))
            }
            Some(_) => Poll::Ready(Ok(())),
        }
    }

    /// [`Self::lock_session`] for a session on which no operation is under way.
    pub(crate) fn take_session(&mut self, id: SessionId) {
        self.set_locked(id, true);
        self.mark_busy(id);
    }

    /// Gives a session back that [`Self::lock_session`] took.
    pub(crate) fn unlock_session(&mut self, id: SessionId) {
        self.set_locked(id, false);
        self.mark_idle(id);
    }

    /// The same for an incoming one that is closed, and that a handler has not let go.
    pub(crate) fn unlock_closed(&mut self, id: SessionId) {
        self.change_session(id, |session| {
            session.locked = false;
            set_closed_pending(session);
        });
        self.mark_idle(id);
    }

    /// Somebody has pages in hand from now on that are in no chain.
    pub(crate) fn begin_with_pages(&mut self) {
        self.under_way.others = self.under_way.others.saturating_add(1);
    }

    /// A call that only the reboot waits for has ended.
    pub(crate) fn end_with_pages(&mut self) {
        self.under_way.others = self.under_way.others.saturating_sub(1);
        if self.under_way.count_for(Waiter::Reboot) == 0 {
            self.update.waits.wake(Topic::Idle);
        }
    }

    /// The first session with a call under way that one waits for.
    pub(crate) fn who_is_busy(&self, waiter: Waiter) -> Option<SessionName> {
        for list in [&self.outgoing, &self.incoming, &self.finished] {
            let mut next = list.first;
            while let Some(session) = next.and_then(|id| self.sessions.get(id)) {
                let concerns = waiter == Waiter::Reboot || session.owner.is_administrator();
                if session.busy > 0 && concerns {
                    return Some(session.name);
                }
                next = session.links.next;
            }
        }
        None
    }

    /// The next outgoing session behind `after` with calls under way.
    pub(crate) fn next_busy(&self, after: Option<SessionId>) -> Option<SessionId> {
        let mut next = match after {
            None => self.outgoing.first,
            Some(id) => self.sessions.get(id)?.links.next,
        };
        while let Some((id, session)) = next.and_then(|id| Some((id, self.sessions.get(id)?))) {
            if session.busy > 0 {
                return Some(id);
            }
            next = session.links.next;
        }
        None
    }

    /// The next file of a session behind `after` that a call has in its hands: all, if it has
    /// the whole session.
    pub(crate) fn next_in_hands(&self, of: SessionId, after: Option<FileId>) -> Option<FileId> {
        let session = self.sessions.get(of)?;
        let mut next = match after {
            None => session.files.first,
            Some(id) => self.files.get(id)?.links.next,
        };
        let is_whole = session.locked;
        while let Some((id, file)) = next.and_then(|id| Some((id, self.files.get(id)?))) {
            let is_reserved = |file: &File<H>| {
                let stage = file.as_outgoing().map(|file| &file.stage);
                matches!(stage, Some(Stage::Reserved))
            };
            if is_whole || is_reserved(file) {
                return Some(id);
            }
            next = file.links.next;
        }
        None
    }
}

/// Whether a transition passes over a session for the next kernel: a call has it for itself.
pub(crate) fn is_taken<H: Host>(session: &Session<H>) -> bool {
    session.locked
}

/// Whether it passes over what is frozen of it as well: the call unfreezes that, or has frozen it
/// and is not at its end.
pub(crate) fn is_undone<H: Host>(session: &Session<H>) -> bool {
    session
        .outgoing()
        .is_some_and(|outgoing| outgoing.undone || outgoing.early.is_under_way())
}
