// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Letting go of the files of an incoming session.

use core::task::Poll;

use super::flb::finish_flbs;
use crate::engine::Engine;
use crate::error::Error;
use crate::host::{Host, Incoming};
use crate::id::{FileId, HandlerId, SessionId};
use crate::session::{Arrived, Direction, Progress, Stage, State};

/// Finishes a retrieved session: all files or, if one handler does not let go
/// yet, none. The session itself stays until it is closed; to finish it again
/// changes nothing.
///
/// # Errors
/// [`Error::CannotFinish`] names the file, [`Error::WrongDirection`],
/// [`Error::Frozen`].
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
        engine.yield_session(id, before);
        Poll::Ready(())
    });
    outcome
}

/// Finishes a session that the caller has for itself.
pub(super) fn finish_claimed<H: Host>(host: &H, session: SessionId) -> Result<(), Error> {
    // First all are asked, then all are finished: the session as a whole.
    let mut next = host.with(|engine| Poll::Ready(engine.take_first(session)));
    while let Some((id, taken)) = next {
        let agreed = host.can_finish(&taken.view());
        let mut taken = Some(taken);
        next = host.with(|engine| {
            if let Some(taken) = taken.take() {
                engine.put_arrived(id, taken.arrived);
            }
            Poll::Ready(if agreed {
                Ok(engine.take_next(id))
            } else {
                Err(engine.cannot_finish(id))
            })
        })?;
    }
    // The last first, as they came to be.
    while let Some((id, taken)) = host.with(|engine| Poll::Ready(engine.take_last_arrived(session)))
    {
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
    }
    Ok(())
}

/// An incoming file in the hands of an operation.
struct Taken<H: Host> {
    data: u64,
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
                Progress::Done(file) => Some(file),
                _ => None,
            },
        }
    }
}

impl<H: Host> Engine<H> {
    fn take_first(&mut self, session: SessionId) -> Option<(FileId, Taken<H>)> {
        let id = self.sessions.get(session)?.files.first?;
        Some((id, self.take_arrived(id)?))
    }

    fn take_next(&mut self, before: FileId) -> Option<(FileId, Taken<H>)> {
        let id = self.files.get(before)?.links.next?;
        Some((id, self.take_arrived(id)?))
    }

    fn take_last_arrived(&mut self, session: SessionId) -> Option<(FileId, Taken<H>)> {
        let id = self.sessions.get(session)?.files.last?;
        Some((id, self.take_arrived(id)?))
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
