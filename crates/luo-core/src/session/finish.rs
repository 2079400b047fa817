// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Letting go of the files of an incoming session.

use crate::engine::Engine;
use crate::error::Error;
use crate::host::{FileCallbacks, Host, Incoming};
use crate::id::{FileId, HandlerId, SessionId};
use crate::lock::Lock;
use crate::participant::flb_life::finish_flbs;
use crate::session::{Arrived, File, Progress};

/// Finishes a session that the caller has for itself.
pub(crate) fn finish_locked<H: Lock>(host: &H, session: SessionId) -> Result<(), Error> {
    let mut next = host.now(|engine| {
        engine.needed_elsewhere(session)?;
        Ok::<_, Error>(engine.first_file(session))
    })?;
    if next.is_none() {
        return Ok(());
    }
    // First all are asked, then all are finished: the session as a whole.
    while let Some(id) = next {
        let (agreed, behind) = ask(host, id);
        if !agreed {
            return Err(host.now(|engine| engine.cannot_finish(id)));
        }
        next = behind;
    }
    let (mut next, way) = host.now(|engine| engine.backwards(session));
    while let Some(id) = next {
        let taken;
        (taken, next) = host.now(|engine| (engine.take_arrived(id), engine.before(id, way)));
        finish_or_forget(host, id, taken);
    }
    Ok(())
}

/// Asks a file's handler whether it lets go. Its session is locked.
pub(crate) fn can_finish<H: Lock>(host: &H, id: FileId) -> bool {
    ask(host, id).0
}

/// [`can_finish`]; also gives the file behind it in its session.
fn ask<H: Lock>(host: &H, id: FileId) -> (bool, Option<FileId>) {
    let Some(taken) = host.now(|engine| engine.take_arrived(id)) else {
        return (true, host.now(|engine| engine.next_file(id)));
    };
    let agreed = taken.arrived.handler.can_finish(host, &taken.view());
    let next = host.now(|engine| {
        engine.put_arrived(id, taken.arrived);
        engine.next_file(id)
    });
    (agreed, next)
}

/// Finishes a file and takes it out. Its session is locked. True if its owner had
/// not got it back: what it kept is released here.
pub(crate) fn finish_file<H: Lock>(host: &H, id: FileId) -> bool {
    let taken = host.now(|engine| engine.take_arrived(id));
    finish_or_forget(host, id, taken)
}

fn finish_or_forget<H: Lock>(host: &H, id: FileId, taken: Option<Taken<H>>) -> bool {
    let Some(taken) = taken else {
        // Of a file that was lost there is nothing to release.
        let gone = host.now(|engine| engine.remove_file(id));
        drop(gone);
        return false;
    };
    let given = taken.owned && matches!(taken.arrived.progress, Progress::Done(_));
    taken.arrived.handler.finish(host, &taken.view());
    if let Some(handler) = taken.with_flbs {
        finish_flbs(host, handler);
    }
    let gone = host.now(|engine| engine.remove_file(id));
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
    pub(crate) fn needed_elsewhere(&self, session: SessionId) -> Result<(), Error> {
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
    /// without the lock. Its session is locked: nobody else looks.
    fn take_arrived(&mut self, id: FileId) -> Option<Taken<H>> {
        let file = self.files.get_mut(id)?;
        let has_flbs = |&handler: &HandlerId| {
            let entry = self.handlers.get(handler);
            entry.is_some_and(|entry| !entry.flbs.is_empty())
        };
        let (data, with_flbs) = (file.data, file.handler.filter(has_flbs));
        let incoming = file.as_incoming_mut()?;
        Some(Taken {
            data,
            owned: incoming.handed || incoming.asked_for,
            arrived: incoming.arrived.take()?,
            with_flbs,
        })
    }

    fn put_arrived(&mut self, id: FileId, arrived: Arrived<H>) {
        let file = self.files.get_mut(id);
        if let Some(incoming) = file.and_then(File::as_incoming_mut) {
            incoming.arrived = Some(arrived);
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
