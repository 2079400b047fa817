// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Letting go of the files of an incoming session.

use core::task::Poll;

use super::flb::finish_flbs;
use super::session::after_finish;
use crate::engine::Engine;
use crate::error::Error;
use crate::host::{Host, Incoming};
use crate::id::{FileId, HandlerId, SessionId};
use crate::session::{Arrived, Direction, Progress, Stage, State};

/// Finishes a retrieved session: all files, those that need others before what
/// they need, or, if one handler does not let go yet, none. The session itself
/// stays until it is closed; to finish it again changes nothing. If it was the
/// last one, the update is over.
///
/// # Errors
/// [`Error::CannotFinish`] and [`Error::Needed`] name the file,
/// [`Error::WrongDirection`], [`Error::Frozen`].
pub fn finish_session<H: Host>(host: &H, id: SessionId) -> Result<(), Error> {
    let before = host.with(|engine| {
        let direction = engine.session_info(id).map(|(_, direction)| direction);
        if direction == Some(Direction::Outgoing) {
            return Poll::Ready(Err(Error::WrongDirection));
        }
        engine.claim_session(id)
    })?;
    let outcome = match before {
        State::Claimed { .. } => finish_claimed(host, id),
        _ => Err(Error::NoSession),
    };
    host.with(|engine| {
        if outcome.is_ok() {
            engine.set_finished(id);
        }
        engine.yield_session(id, before);
        Poll::Ready(())
    });
    after_finish(host);
    outcome
}

/// Finishes a session that the caller has for itself.
pub(super) fn finish_claimed<H: Host>(host: &H, session: SessionId) -> Result<(), Error> {
    host.with(|engine| Poll::Ready(engine.needed_elsewhere(session)))?;
    // First all are asked, then all are finished: the session as a whole.
    let mut next = host.with(|engine| Poll::Ready(engine.first_file(session)));
    while let Some(id) = next {
        if !can_finish(host, id) {
            return Err(host.with(|engine| Poll::Ready(engine.cannot_finish(id))));
        }
        next = host.with(|engine| Poll::Ready(engine.next_file(id)));
    }
    // From the end: dependents first, and else the last first.
    next = host.with(|engine| Poll::Ready(engine.arrange_session(session).last));
    while let Some(id) = next {
        next = host.with(|engine| Poll::Ready(engine.graph.prev_in_order(id)));
        finish_file(host, id);
    }
    Ok(())
}

/// Asks a file's handler whether it lets go. Its session is claimed.
pub(super) fn can_finish<H: Host>(host: &H, id: FileId) -> bool {
    let Some(taken) = host.with(|engine| Poll::Ready(engine.take_arrived(id))) else {
        return true;
    };
    let agreed = host.can_finish(&taken.view());
    let mut taken = Some(taken);
    host.with(|engine| {
        if let Some(taken) = taken.take() {
            engine.put_arrived(id, taken.arrived);
        }
        Poll::Ready(())
    });
    agreed
}

/// Finishes a file and takes it out. Its session is claimed. True if its owner had
/// not got it back: what it kept is released here.
pub(super) fn finish_file<H: Host>(host: &H, id: FileId) -> bool {
    let Some(taken) = host.with(|engine| Poll::Ready(engine.take_arrived(id))) else {
        return false;
    };
    let given = taken.owned && matches!(taken.arrived.progress, Progress::Done(_));
    host.finish(&taken.view());
    if let Some(handler) = taken.with_flbs {
        finish_flbs(host, handler);
    }
    let gone = host.with(|engine| Poll::Ready(engine.remove_file(id)));
    drop(gone);
    // The file and then the pin on its handler's owner go last.
    let Arrived { pin, progress, .. } = taken.arrived;
    drop(progress);
    drop(pin);
    !given
}

/// An incoming file in the hands of an operation.
struct Taken<H: Host> {
    data: u64,
    /// Its owner has asked for it.
    owned: bool,
    arrived: Arrived<H>,
    /// The handler, if files of it have FLBs.
    with_flbs: Option<HandlerId>,
}

impl<H: Host> Taken<H> {
    fn view(&self) -> Incoming<'_, H> {
        Incoming {
            handler: &self.arrived.handler,
            data: self.data,
            retrieval: self.arrived.progress.retrieval(),
            file: match &self.arrived.progress {
                Progress::Done(file) | Progress::Wide(file) => Some(file),
                _ => None,
            },
        }
    }
}

impl<H: Host> Engine<H> {
    fn first_file(&self, session: SessionId) -> Option<FileId> {
        self.sessions.get(session)?.files.first
    }

    fn next_file(&self, before: FileId) -> Option<FileId> {
        self.files.get(before)?.links.next
    }

    /// Whether a file of another session needs one of this session.
    pub(super) fn needed_elsewhere(&self, session: SessionId) -> Result<(), Error> {
        if self.graph.edge_count() == 0 {
            return Ok(());
        }
        let mut next = self.first_file(session);
        while let Some((id, file)) = next.and_then(|id| Some((id, self.files.get(id)?))) {
            let elsewhere = |by: &FileId| {
                let by = self.files.get(*by);
                by.is_some_and(|by| by.session != session)
            };
            if let Some(by) = self.graph.dependents(id).find(elsewhere) {
                let token = file.token;
                let by = self.file_name(by).ok_or(Error::Inconsistent)?;
                return Err(Error::Needed { token, by });
            }
            next = file.links.next;
        }
        Ok(())
    }

    /// Takes an incoming file's insides out, so that callbacks can have them
    /// without the lock. Its session is claimed: nobody else looks.
    fn take_arrived(&mut self, id: FileId) -> Option<Taken<H>> {
        let file = self.files.get_mut(id)?;
        let has_flbs = |&handler: &HandlerId| {
            let entry = self.handlers.get(handler);
            entry.is_some_and(|entry| !entry.flbs.is_empty())
        };
        match core::mem::replace(&mut file.stage, Stage::Reserved) {
            Stage::Incoming(arrived) => Some(Taken {
                data: file.data,
                owned: file.handed || file.asked_for,
                arrived,
                with_flbs: file.handler.filter(has_flbs),
            }),
            other => {
                file.stage = other;
                None
            }
        }
    }

    fn put_arrived(&mut self, id: FileId, arrived: Arrived<H>) {
        if let Some(file) = self.files.get_mut(id) {
            file.stage = Stage::Incoming(arrived);
        }
    }

    fn cannot_finish(&self, id: FileId) -> Error {
        let named = self.files.get(id).and_then(|file| {
            let handler = self.handlers.get(file.handler?)?;
            Some(Error::CannotFinish {
                token: file.token,
                handler: handler.name,
            })
        });
        named.unwrap_or(Error::Inconsistent)
    }
}
