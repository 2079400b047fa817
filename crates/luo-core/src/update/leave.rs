// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Leaving a session: finishing it, and closing it. Either may be the last thing an
//! update waited for.

use core::task::Poll;

use crate::engine::Engine;
use crate::error::Error;
use crate::host::Host;
use crate::id::SessionId;
use crate::lock::Lock;
use crate::session::finish::{finish_begun, Finishing};
use crate::session::preserve::unpreserve_all;
use crate::session::remove::{drop_out, end_incoming, remove_locked};
use crate::session::retry::retry_closed;
use crate::session::scope::Scope;
use crate::session::{Direction, Session};
use crate::text::SessionName;
use crate::update::early::unfreeze_session;
use crate::update::end::end_if_all_finished;
use crate::within::Within;

/// Finishes a retrieved session: all files, those that need others before what
/// they need, or, if one handler does not let go yet, none. The session itself
/// stays until it is closed; to finish it again changes nothing. Closed sessions of the
/// same owner that waited for it are finished, too. If it was the last one, the update is
/// over.
///
/// # Errors
/// [`Error::CannotFinish`] and [`Error::Needed`] name the file,
/// [`Error::WrongDirection`], [`Error::Frozen`].
pub fn finish_session<H: Lock>(host: &H, id: SessionId) -> Result<(), Error> {
    let mut finishing = Finishing::of(id);
    let locked = host.wait_killable(|engine| {
        let session = engine.sessions.get(id);
        if session.is_some_and(|session| session.direction() == Direction::Outgoing) {
            finishing.refuse(Error::WrongDirection);
            return Poll::Ready(false);
        }
        let is_claimed = session.is_some_and(Session::is_claimed);
        match engine.lock_session(id) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(why)) => {
                finishing.refuse(why);
                return Poll::Ready(false);
            }
            Poll::Pending => return Poll::Pending,
        }
        match is_claimed {
            true => finishing.begin(host, engine),
            false => finishing.refuse(Error::NoSession),
        }
        Poll::Ready(true)
    })?;
    if !locked {
        return finishing.outcome();
    }
    finish_begun(host, &mut finishing);
    let (more, scope) = Within::Call.step(host, |engine| {
        if !finishing.is_refused() {
            engine.set_finished(id);
        }
        // Once it is unlocked it may go.
        let scope = engine.scope_of(id);
        engine.unlock_session(id);
        (engine.is_more_to_do(scope), scope)
    });
    if more {
        after_finish(host, scope);
    }
    finishing.outcome()
}

/// Ends a session whose last descriptor is closed.
///
/// An outgoing one is undone file by file, the last first; what is frozen of it is unfrozen before. An incoming one is
/// finished; if a handler does not let go, the session stays, can be retrieved
/// again by its name, and is finished by the next [`crate::ops::catch_up`].
/// An outgoing session that took part in a prepare stays untouched until the update is
/// cancelled, or goes over to the next kernel; one that was made afterwards is undone.
/// Once a reboot has frozen everything, incoming sessions stay as well.
///
/// # Errors
/// [`Error::CannotFinish`] or [`Error::Needed`] for an incoming session that stays. The host tells
/// somebody: whoever closed the descriptor will not look.
pub fn close_session<H: Lock>(host: &H, id: SessionId) -> Result<(), Error> {
    // Large, and so they stay where they are, see `Finishing`.
    let mut finishing = Finishing::of(id);
    let mut gone = None;
    let closing = host.wait(|engine| {
        let session = engine.sessions.get(id);
        let direction = session.map(Session::direction);
        if engine.keeps(id) {
            engine.orphan(id);
            return Poll::Ready(Closing::Kept);
        }
        // One that has nothing left goes at once: it need not be taken first.
        if direction == Some(Direction::Incoming) && engine.has_no_files(id) {
            return engine.is_free_to_lock(id).map(|free| match free {
                Ok(()) => {
                    let scope = engine.scope_of(id);
                    gone = Some(engine.take_out_idle(id));
                    Closing::Gone(engine.is_more_to_do(scope).then_some(scope))
                }
                Err(why) => {
                    finishing.refuse(why);
                    Closing::Kept
                }
            });
        }
        match engine.lock_session(id) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(why)) => {
                finishing.refuse(why);
                return Poll::Ready(Closing::Kept);
            }
            Poll::Pending => return Poll::Pending,
        }
        let scope = engine.scope_of(id);
        Poll::Ready(match direction {
            None => Closing::Kept,
            Some(Direction::Outgoing) => Closing::Undone(engine.begin_undoing(id)),
            Some(Direction::Incoming) => {
                finishing.begin(host, engine);
                Closing::Ended(scope)
            }
        })
    });
    match closing {
        Closing::Kept => return finishing.outcome(),
        Closing::Gone(more) => {
            if let Some(gone) = gone {
                drop_out(host, gone);
            }
            if let Some(scope) = more {
                after_finish(host, scope);
            }
            return Ok(());
        }
        Closing::Undone(frozen) => {
            if frozen {
                unfreeze_session(host, id);
            }
            unpreserve_all(host, id);
        }
        Closing::Ended(scope) => {
            let ended = end_incoming(host, id, &mut finishing);
            if let Err(Error::Needed { by, .. }) = &ended {
                host.now(|engine| {
                    engine.look_for_retry(id, &by.session);
                });
            }
            after_finish(host, scope);
            // It may have been finished together with others.
            let gone = ended.is_ok() || host.now(|engine| engine.sessions.get(id).is_none());
            return if gone { Ok(()) } else { ended };
        }
    }
    remove_locked(host, Within::Call, id);
    Ok(())
}

/// The fate of a session that is closed.
enum Closing {
    /// Nothing yet.
    Kept,
    /// It had nothing any more and is gone. With a scope there is more to do.
    Gone(Option<Scope>),
    /// An outgoing one; whether it was frozen before the others.
    Undone(bool),
    /// An incoming one, whose finishing has begun.
    Ended(Scope),
}

/// Called after files of the previous kernel were finished: tries the sessions of a scope
/// again that waited for them, and ends the update if this was the last session. Those of
/// other owners are tried when they call. A user does nothing of that for others: a worker does.
pub(crate) fn after_finish<H: Lock>(host: &H, scope: Scope) {
    if !host.now(|engine| engine.is_more_to_do(scope)) {
        return;
    }
    if !host.leaves_rest_to_worker() {
        try_again(host, scope);
        end_if_all_finished(host);
        return;
    }
    let is_own = scope != Scope::NoUsers;
    if is_own {
        try_again(host, scope);
    }
    let wish = host.now(Engine::wants_end);
    if wish.is_some() || !is_own {
        host.rest_is_wanted();
    }
    if let Some(wish) = wish {
        // It is over then, unless another transition has kept it. The worker does it all the same
        // if the caller is killed meanwhile, or if it takes too long.
        let _ = host.wait_patiently(|engine| engine.update.may_leave_end(wish));
    }
}

/// Does what follows for others when a user has finished a session. For the worker of a host; see
/// [`Lock::leaves_rest_to_worker`].
pub fn do_rest<H: Lock>(host: &H) {
    let wish = host.now(|engine| engine.update.ends_wanted());
    try_again(host, Scope::NoUsers);
    end_if_all_finished(host);
    host.now(|engine| engine.update.end_was_tried(wish));
}

fn try_again<H: Lock>(host: &H, scope: Scope) {
    while host.now(|engine| engine.is_retry_wanted(scope)) {
        // A session that still cannot be finished is tried again and reported when the
        // next program has opened the device.
        let retried = retry_closed(host, scope, |_| ());
        // Others may want it as often as they like, and try their own themselves. What goes
        // is gone for good, so this ends.
        if !retried.some_went {
            break;
        }
    }
}

impl<H: Host> Engine<H> {
    /// Whether a session that is closed now stays because of an update.
    fn keeps(&self, id: SessionId) -> bool {
        let took_part = || {
            let session = self.sessions.get(id).and_then(Session::outgoing);
            session.is_some_and(|session| self.update.may_change(session.made).is_err())
        };
        match self.update.admits() {
            Poll::Pending => false,
            Poll::Ready(Err(_)) => true,
            Poll::Ready(Ok(())) => took_part(),
        }
    }

    /// Whether sessions are to be tried again, or the update is to end.
    pub(crate) fn is_more_to_do(&self, scope: Scope) -> bool {
        self.is_retry_wanted(scope) || self.has_finished()
    }

    fn has_no_files(&self, id: SessionId) -> bool {
        let session = self.sessions.get(id);
        session.is_some_and(|session| session.files.len == 0)
    }

    /// The caller is to undo an outgoing session, which it has for itself. Whether the session was
    /// frozen before the others; then no transition goes along what is frozen of it.
    fn begin_undoing(&mut self, id: SessionId) -> bool {
        let frozen = self.is_frozen_early(id);
        let session = self.sessions.get_mut(id).and_then(Session::outgoing_mut);
        if let Some(session) = session {
            session.undone |= frozen;
        }
        frozen
    }

    fn orphan(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.orphan = true;
        }
    }

    /// A session that was closed is needed by another. If that one was closed as
    /// well, the two may have to be finished together.
    fn look_for_retry(&mut self, id: SessionId, other: &SessionName) {
        let other = self.find_session(Direction::Incoming, other);
        let other = other.and_then(|id| self.sessions.get(id));
        if other.is_some_and(Session::is_closed_pending) {
            self.want_retry(id);
        }
    }
}
