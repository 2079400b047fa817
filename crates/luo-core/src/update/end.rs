// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The end of an update in the next kernel: FINISH, and the end by itself.

use core::task::Poll;

use luo_abi::rfc::{Event, State};

use crate::engine::{files_of, Engine};
use crate::error::Error;
use crate::file_name::FileName;
use crate::graph::{First, Order};
use crate::handover::Handover;
use crate::host::Host;
use crate::id::SessionId;
use crate::lock::Lock;
use crate::participant::subsystem_calls;
use crate::session::finish::{can_finish, finish_file};
use crate::session::remove::remove_locked;
use crate::session::Session;
use crate::under_way::Waiter;
use crate::update::takeover::bring_over;
use crate::update::transition::begin;
use crate::update::Report;
use crate::walk::backwards;
use crate::within::Within;

/// The FINISH event: ends the update and releases whatever was not reclaimed.
/// Dependents go before what they need, files before subsystems. `released` is
/// told of each file whose memory is released.
///
/// No handler can make it fail: a file that its handler does not let go of stays with its
/// session, which is tried again before the first call on each newly opened descriptor, and does not keep
/// the machine in this state.
///
/// # Errors
/// [`Error::Illegal`] in any state but UPDATED; [`Error::NoMemory`] if the previous
/// kernel's sessions could not be read, EBUSY if that takes too long; EAGAIN if
/// the caller was killed while it waited, [`Error::Busy`] if it waited in vain. Nothing is
/// finished then.
pub fn finish_update<H: Lock>(
    host: &H,
    mut released: impl FnMut(&FileName),
) -> Result<Report, Error> {
    // Sessions that were never read are read now, to be released. A refused handover
    // cannot be read and stays quarantined; the log has said so. Sessions that could
    // not be read for lack of memory or of time would come to light after the end of the
    // update, when nobody can release them any more.
    match bring_over(host) {
        Ok(()) | Err(Error::Refused(_)) => {}
        Err(why) => return Err(why),
    }
    // The last session may have been finished while the event waited.
    let from = begin(host, Event::Finish).inspect_err(|_| end_if_all_finished(host))?;
    let mut report = Report::new(Some(Event::Finish), from);
    report.stuck = host.now(|engine| engine.count_busy_arrived());
    // From the end: dependents first, and of files that are free of each other the
    // last first.
    backwards(host, Engine::arrange_all_arrived, |id| {
        let name = host.now(|engine| engine.file_name(id));
        // A file that a file which stays needs has to stay as well.
        let needed = host.now(|engine| engine.graph.dependent_count(id) > 0);
        if needed || !can_finish(host, id) {
            report.stuck = report.stuck.saturating_add(1);
            return;
        }
        report.files = report.files.saturating_add(1);
        if finish_file(host, Within::Transition, id) {
            if let Some(name) = &name {
                released(name);
            }
            if let Some(first) = report.released_first.get_mut(report.released) {
                *first = name;
            }
            report.released = report.released.saturating_add(1);
        }
    });
    // Those that are finished already count, too.
    let (finished, mut session) = host.now(|engine| (engine.finished.len, engine.incoming.first));
    report.sessions = report.sessions.saturating_add(finished);
    while let Some(id) = session {
        report.sessions = report.sessions.saturating_add(1);
        session = host.now(|engine| engine.next_session(id));
        if host.now(|engine| engine.close_finished(id)) {
            remove_locked(host, Within::Transition, id);
        }
    }
    end(host, report)
}

/// The update is over once its last session is: the subsystems are told.
pub(crate) fn end_if_all_finished<H: Lock>(host: &H) {
    let from = host.now(|engine| {
        if !engine.has_finished() {
            return None;
        }
        match engine.update.begin(Event::Finish) {
            Poll::Ready(Ok(())) => Some(State::Updated),
            _ => None,
        }
    });
    if let Some(from) = from {
        host.transition_begun(Some(Event::Finish));
        let _ = end(host, Report::new(Some(Event::Finish), from));
    }
}

fn end<H: Lock>(host: &H, mut report: Report) -> Result<Report, Error> {
    report.subsystems = subsystem_calls::finish_all(host);
    report.to = host.now(|engine| {
        engine.update.set_updated(false);
        engine.update.end(State::Normal)
    });
    host.transition_ended(&report);
    Ok(report)
}

impl<H: Host> Engine<H> {
    /// Puts all files of the previous kernel in order, dependencies first, but for those
    /// of sessions with a call under way.
    fn arrange_all_arrived(&mut self) -> Order {
        let is_idle = |session: &Session<H>| session.busy == 0;
        let all = files_of(&self.sessions, &self.files, &self.incoming, is_idle);
        self.graph.arrange(all, First::Dependencies)
    }

    /// How many files of the previous kernel are in sessions with a call under way.
    fn count_busy_arrived(&self) -> usize {
        if self.under_way.count_for(Waiter::Reboot) == 0 {
            return 0;
        }
        let is_busy = |session: &Session<H>| session.busy > 0;
        files_of(&self.sessions, &self.files, &self.incoming, is_busy).count()
    }

    fn next_session(&self, id: SessionId) -> Option<SessionId> {
        self.sessions.get(id)?.links.next
    }

    /// Decides at FINISH whether an incoming session goes. If it does, this call has
    /// locked it for that and answers true.
    fn close_finished(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.get(id) else {
            return false;
        };
        if session.locked {
            return false;
        }
        let is_claimed = session.is_claimed();
        match (is_claimed, session.files.len) {
            (true, 0) => self.set_finished(id),
            (true, _) => {}
            (false, 0) => {
                self.take_session(id);
                return true;
            }
            (false, _) => self.set_closed_pending(id),
        }
        false
    }

    /// The number of the caller's wish that the update end, if it is to. Whoever asks has
    /// somebody try.
    pub(crate) fn wants_end(&mut self) -> Option<u64> {
        self.has_finished().then(|| self.update.want_end())
    }

    /// Whether there were sessions of the previous kernel and all are finished.
    pub(crate) fn has_finished(&self) -> bool {
        self.state() == State::Updated
            && self.incoming.len == 0
            && self.had_sessions
            && matches!(self.handover, Handover::Taken)
    }
}
