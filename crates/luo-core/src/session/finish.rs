// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Letting go of the files of an incoming session.

use crate::engine::{arrange_session, Backwards, Engine};
use crate::error::Error;
use crate::graph::{Budget, Graph};
use crate::host::{FileCallbacks, Host, Incoming};
use crate::id::{FileId, HandlerId, SessionId};
use crate::lock::Lock;
use crate::participant::flb_life::finish_flbs;
use crate::session::{Arrived, File, Progress};
use crate::within::Within;

/// Finishes a session that the caller has for itself, from where `Engine::begin_finish` has
/// begun. Each step ends with one file and begins with the next: with few files, going in
/// and out of the engine is most of the work.
pub(crate) fn finish_begun<H: Lock>(
    host: &H,
    session: SessionId,
    begun: Result<Finishing<H>, Error>,
) -> Result<(), Error> {
    let mut finishing = begun?;
    // First all are asked, then all are finished: the session as a whole.
    loop {
        finishing = match finishing {
            Finishing::ToLook(from) => host.now(|engine| engine.look_from(session, Some(from)))?,
            Finishing::ToAsk(from) => host.now(|engine| engine.ask_from(session, Some(from))),
            Finishing::ToArrange => {
                let last = arrange_session(host, session);
                host.now(|engine| engine.begin_letting_go(last, Backwards::InOrder))
            }
            Finishing::Asked(id, taken) => {
                let agreed = taken.arrived.handler.can_finish(host, &taken.view());
                host.now(|engine| engine.answered(session, id, taken, agreed))?
            }
            Finishing::Agreed(id, taken, next, way) => {
                let held = taken.map(|taken| let_go(host, taken));
                let (gone, next) = Within::Call.step(host, |engine| {
                    let gone = engine.remove_file(id);
                    (gone, engine.begin_letting_go(next, way))
                });
                drop(gone);
                drop(held);
                next
            }
            Finishing::Done => return Ok(()),
        }
    }
}

/// How far the finishing of a session is, with a file in the hands of who does it.
pub(crate) enum Finishing<H: Host> {
    /// Whether others need files of the session is to be looked at from this one on.
    ToLook(FileId),
    /// The handlers of files are to be asked from this one on.
    ToAsk(FileId),
    /// All have agreed, and the files need each other: they are to be put in order.
    ToArrange,
    /// The handler of a file is to be asked.
    Asked(FileId, Taken<H>),
    /// All have agreed: the handler of a file is to let go, and then that of the file before
    /// it. Of one that was lost there is nothing to release.
    Agreed(FileId, Option<Taken<H>>, Option<FileId>, Backwards),
    /// There is no file left.
    Done,
}

/// Asks a file's handler whether it lets go. Its session is locked.
pub(crate) fn can_finish<H: Lock>(host: &H, id: FileId) -> bool {
    let Some(taken) = host.now(|engine| engine.take_arrived(id)) else {
        return true;
    };
    let agreed = taken.arrived.handler.can_finish(host, &taken.view());
    host.now(|engine| engine.put_arrived(id, taken.arrived));
    agreed
}

/// Finishes a file and takes it out. Its session is locked. True if its owner had
/// not got it back: what it kept is released here.
pub(crate) fn finish_file<H: Lock>(host: &H, within: Within, id: FileId) -> bool {
    let taken = host.now(|engine| engine.take_arrived(id));
    let released = taken.as_ref().is_some_and(|taken| !taken.is_given());
    let held = taken.map(|taken| let_go(host, taken));
    let gone = within.step(host, |engine| engine.remove_file(id));
    drop(gone);
    drop(held);
    released
}

/// The handler lets go. The file and then the pin on its handler's owner, which come back,
/// go when the engine has forgotten the file.
fn let_go<H: Lock>(host: &H, taken: Taken<H>) -> (Progress<H>, H::Pin) {
    taken.arrived.handler.finish(host, &taken.view());
    if let Some(handler) = taken.with_flbs {
        finish_flbs(host, handler);
    }
    let Arrived { pin, progress, .. } = taken.arrived;
    (progress, pin)
}

/// An incoming file in the hands of an operation.
pub(crate) struct Taken<H: Host> {
    data: u64,
    /// Its owner has asked for it.
    owned: bool,
    arrived: Arrived<H>,
    /// The handler, if files of it have FLBs.
    with_flbs: Option<HandlerId>,
}

impl<H: Host> Taken<H> {
    /// Whether its owner has got it back.
    const fn is_given(&self) -> bool {
        self.owned && matches!(self.arrived.progress, Progress::Done(_))
    }

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

    /// Begins to finish a session that the caller has for itself.
    ///
    /// # Errors
    /// [`Error::Needed`].
    pub(crate) fn begin_finish(&mut self, session: SessionId) -> Result<Finishing<H>, Error> {
        let first = self.first_file(session);
        if self.graph.edge_count() == 0 {
            return Ok(self.ask_from(session, first));
        }
        self.look_from(session, first)
    }

    /// Looks for a stretch whether others need files of the session, from one on. If all were
    /// looked at, the handlers are asked. Arrived files get no new dependencies.
    fn look_from(
        &mut self,
        session: SessionId,
        from: Option<FileId>,
    ) -> Result<Finishing<H>, Error> {
        if let Some(from) = from {
            if let Some(behind) = self.needed_elsewhere(session, from)? {
                return Ok(Finishing::ToLook(behind));
            }
        }
        Ok(self.ask_from(session, self.first_file(session)))
    }

    /// Asks for a file of a session, or for those behind it if it was lost. When there are
    /// no more, all have agreed.
    fn ask_from(&mut self, session: SessionId, mut next: Option<FileId>) -> Finishing<H> {
        let mut budget = Budget::of_a_stretch();
        while let Some(id) = next {
            if let Some(taken) = self.take_arrived(id) {
                return Finishing::Asked(id, taken);
            }
            if !budget.has_room_for(0) {
                return Finishing::ToAsk(id);
            }
            next = self.next_file(id);
        }
        match self.last_if_listed(session) {
            Some((last, way)) => self.begin_letting_go(last, way),
            None => Finishing::ToArrange,
        }
    }

    /// A handler has answered.
    fn answered(
        &mut self,
        session: SessionId,
        id: FileId,
        taken: Taken<H>,
        agreed: bool,
    ) -> Result<Finishing<H>, Error> {
        self.put_arrived(id, taken.arrived);
        if !agreed {
            return Err(self.cannot_finish(id));
        }
        Ok(self.ask_from(session, self.next_file(id)))
    }

    /// The next file that is let go of.
    fn begin_letting_go(&mut self, next: Option<FileId>, way: Backwards) -> Finishing<H> {
        match next {
            None => Finishing::Done,
            Some(id) => {
                let taken = self.take_arrived(id);
                Finishing::Agreed(id, taken, self.before(id, way), way)
            }
        }
    }

    /// Whether a file of another session needs one of a stretch of this session's, which
    /// begins at `first`; gives the one behind it.
    ///
    /// # Errors
    /// [`Error::Needed`].
    pub(crate) fn needed_elsewhere(
        &self,
        session: SessionId,
        first: FileId,
    ) -> Result<Option<FileId>, Error> {
        self.look_along(first, Graph::dependent_count, |id, file| {
            let Some(by) = self.who_needs(session, id) else {
                return Ok(());
            };
            let token = file.token;
            let by = self.file_name(by).ok_or(Error::Inconsistent)?;
            Err(Error::Needed { token, by })
        })
    }

    /// A file of another session that needs a file of this one.
    fn who_needs(&self, session: SessionId, id: FileId) -> Option<FileId> {
        let elsewhere = |by: &FileId| {
            let by = self.files.get(*by);
            by.is_some_and(|by| by.session != session)
        };
        self.graph.dependents(id).find(elsewhere)
    }

    /// Whether nobody elsewhere needs the file of a session any more that has kept it from
    /// being finished.
    pub(crate) fn is_free_now(&self, session: SessionId, token: u64) -> bool {
        let file = self.find_file(session, token);
        file.and_then(|id| self.who_needs(session, id)).is_none()
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
