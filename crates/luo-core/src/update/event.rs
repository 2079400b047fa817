// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The events PREPARE, FREEZE and CANCEL. FINISH is in `end`.

use luo_abi::rfc::{Event, State};

use crate::engine::Engine;
use crate::error::Error;
use crate::failure::Failure;
use crate::host::Host;
use crate::id::SessionId;
use crate::lock::Lock;
use crate::losses::Losses;
use crate::session::Direction;
use crate::update::carry::uncarry;
use crate::update::end::end_if_all_finished;
use crate::update::freeze::{freeze_all, Asked};
use crate::update::leave::close_session;
use crate::update::loss::{tell_the_rest, Obstacle};
use crate::update::transition::{begin, prepare_all, undo_all};
use crate::update::Report;
use crate::update_state::UpdateState;

/// The PREPARE event: preserves what is registered on the device and asks all
/// subsystems; what is preserved is fixed from then on.
///
/// # Errors
/// [`Failure`]: who vetoes, or which dependency is missing; the state is NORMAL
/// again and everything as it was. [`Error::Illegal`] in any state but NORMAL;
/// EAGAIN if the caller was killed while it waited for another transition, [`Error::Busy`] if
/// it waited in vain; nothing has happened then.
pub fn prepare<H: Lock>(host: &H) -> Result<Report, Failure> {
    let from = begin(host, Event::Prepare)?;
    host.now(|engine| engine.losses = Losses::NONE);
    match prepare_all(host, Obstacle::Vetoes) {
        Ok(()) => Ok(end(host, Event::Prepare, from, UpdateState::end_prepared)),
        Err(why) => Err(fail(host, Event::Prepare, why)),
    }
}

/// The FREEZE event: the handlers of all that took part in the prepare, and all
/// subsystems, take their last look. The reboot asks handlers again, and writes.
///
/// # Errors
/// As [`prepare`], legal in PREPARED; a veto cancels the whole update.
pub fn freeze<H: Lock>(host: &H) -> Result<Report, Failure> {
    let from = begin(host, Event::Freeze)?;
    host.now(|engine| {
        engine.by_event = true;
    });
    match freeze_all(host, Asked::ByEvent) {
        Ok(()) => Ok(end(host, Event::Freeze, from, |update| {
            update.end(State::Frozen)
        })),
        Err(why) => {
            host.now(|engine| {
                engine.by_event = false;
            });
            undo_all(host);
            Err(fail(host, Event::Freeze, why))
        }
    }
}

/// The CANCEL event: undoes prepare, and freeze, also that of a reboot which did
/// not come about. Sessions whose descriptors were closed meanwhile go.
///
/// # Errors
/// [`Error::Illegal`] in NORMAL and UPDATED; EAGAIN if the caller was killed while
/// it waited for another transition, [`Error::Busy`] if it waited in vain. Nothing has
/// happened then.
pub fn cancel<H: Lock>(host: &H) -> Result<Report, Error> {
    let from = begin(host, Event::Cancel)?;
    host.now(|engine| {
        engine.write_empty();
    });
    undo_all(host);
    uncarry(host);
    host.now(|engine| engine.losses = Losses::NONE);
    tell_the_rest(host);
    let report = end(host, Event::Cancel, from, |update| {
        update.end(State::Normal)
    });
    close_orphans(host);
    Ok(report)
}

fn end<H: Lock>(
    host: &H,
    event: Event,
    from: State,
    end: impl FnOnce(&mut UpdateState) -> State,
) -> Report {
    let mut report = Report::new(Some(event), from);
    host.now(|engine| {
        report.to = end(&mut engine.update);
        engine.count_outgoing(&mut report);
    });
    host.transition_ended(&report);
    report
}

/// Ends a transition that has failed and is undone.
pub(crate) fn fail<H: Lock>(host: &H, event: Event, why: Failure) -> Failure {
    let state = host.now(|engine| engine.update.fail(Some(event), why));
    host.transition_failed(Some(event), state, &why);
    close_orphans(host);
    why
}

/// Closes the sessions whose descriptors were closed while an update held them.
pub(crate) fn close_orphans<H: Lock>(host: &H) {
    let mut next = host.now(|engine| engine.next_orphan(None));
    while let Some(id) = next {
        let is_orphan;
        (is_orphan, next) = host.now(|engine| engine.take_orphan(id));
        if is_orphan {
            // An incoming one that cannot be finished stays pending; the first call on
            // the next open descriptor tries again and reports.
            let _ = close_session(host, id);
        }
    }
    // The last session may have been finished while the transition waited.
    end_if_all_finished(host);
}

impl<H: Host> Engine<H> {
    /// The next orphan behind `after`, the outgoing ones first.
    fn next_orphan(&self, after: Option<SessionId>) -> Option<SessionId> {
        let lists = [&self.outgoing, &self.incoming, &self.finished];
        let (mut next, at) = match after {
            None => (self.outgoing.first, 0usize),
            Some(id) => {
                let session = self.sessions.get(id)?;
                let at = match (session.direction(), session.is_finished()) {
                    (Direction::Outgoing, _) => 0,
                    (Direction::Incoming, false) => 1,
                    (Direction::Incoming, true) => 2,
                };
                (session.links.next, at)
            }
        };
        let mut behind = lists.iter().skip(at.saturating_add(1));
        loop {
            while let Some((id, session)) = next.and_then(|id| Some((id, self.sessions.get(id)?))) {
                if session.orphan {
                    return Some(id);
                }
                next = session.links.next;
            }
            next = behind.next()?.first;
        }
    }

    /// Whether a session is an orphan still, and the next one; it is none afterwards. Each is
    /// closed once: held again meanwhile, it waits for the next cancel.
    fn take_orphan(&mut self, id: SessionId) -> (bool, Option<SessionId>) {
        // Looked up here: the session may be gone once it is closed.
        let next = self.next_orphan(Some(id));
        match self.sessions.get_mut(id) {
            Some(session) => (core::mem::take(&mut session.orphan), next),
            // A new one has taken its place meanwhile. Nothing tells what was behind it.
            None => (false, self.next_orphan(None)),
        }
    }
}
