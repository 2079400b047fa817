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

/// The finishing of a session that somebody has for itself: how far it is, and what is in the
/// hands of who does it. Steps under the engine's lock change it where it is and give nothing
/// back: files and errors are large, and a result is copied more than once on its way out.
pub(crate) struct Finishing<H: Host> {
    session: SessionId,
    at: At,
    /// The file whose handler is to be asked, or to let go.
    taken: Option<Taken<H>>,
    /// Why the session cannot be finished.
    refused: Option<Error>,
}

/// How far the finishing of a session is.
#[derive(Clone, Copy)]
enum At {
    /// Whether others need files of the session is to be looked at from this one on.
    ToLook(FileId),
    /// The handlers of files are to be asked from this one on.
    ToAsk(FileId),
    /// All have agreed, and the files need each other: they are to be put in order.
    ToArrange,
    /// The handler of this file is to be asked. If it is the last of a session whose files do not
    /// need each other, it is the first that lets go then, and this is the one before it.
    Asked(FileId, Option<(Option<FileId>, Backwards)>),
    /// All have agreed: the handler of this file is to let go, and then that of the file before
    /// it. Of one that was lost there is nothing to release.
    Agreed(FileId, Option<FileId>, Backwards),
    /// There is no file left, or the session cannot be finished.
    Done,
}

/// Finishes a session that the caller has for itself, from where [`Finishing::begin`] has
/// begun. Each step ends with one file and begins with the next: with few files, going in
/// and out of the engine is most of the work.
pub(crate) fn finish_begun<H: Lock>(host: &H, finishing: &mut Finishing<H>) {
    // First all are asked, then all are finished: the session as a whole.
    loop {
        match finishing.at {
            At::ToLook(from) => {
                host.now(|engine| finishing.look_from(host, engine, Some(from)));
            }
            At::ToAsk(from) => host.now(|engine| finishing.ask_from(host, engine, Some(from))),
            At::ToArrange => {
                let last = arrange_session(host, finishing.session);
                host.now(|engine| finishing.let_go_from(engine, last, Backwards::InOrder));
            }
            At::Asked(id, last) => {
                let agreed = finishing.taken.as_ref().is_none_or(|taken| {
                    let handler = &taken.arrived.handler;
                    handler.can_finish(host, &taken.view())
                });
                match last {
                    // Nobody else adds or removes files of the session meanwhile.
                    Some((next, way)) if agreed => finishing.at = At::Agreed(id, next, way),
                    _ => host.now(|engine| finishing.answered(host, engine, id, agreed)),
                }
            }
            At::Agreed(id, next, way) => {
                if let Some(taken) = &finishing.taken {
                    let_go(host, taken);
                }
                // The file's contents go when the engine has forgotten it; the step puts the
                // next one in its place.
                if next.is_none() {
                    let gone = Within::Call.step(host, |engine| engine.remove_arrived(id));
                    finishing.at = At::Done;
                    drop(gone);
                    finishing.taken = None;
                } else {
                    let held = finishing.taken.take();
                    let gone = Within::Call.step(host, |engine| {
                        let gone = engine.remove_arrived(id);
                        finishing.let_go_from(engine, next, way);
                        gone
                    });
                    drop(gone);
                    drop(held);
                }
            }
            At::Done => return,
        }
    }
}

impl<H: Host> Finishing<H> {
    /// That of a session, before it has begun.
    pub(crate) const fn of(session: SessionId) -> Self {
        Self {
            session,
            at: At::Done,
            taken: None,
            refused: None,
        }
    }

    /// The session cannot be finished.
    pub(crate) fn refuse(&mut self, why: Error) {
        self.at = At::Done;
        self.refused = Some(why);
    }

    /// Whether the session cannot be finished.
    pub(crate) const fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// The outcome.
    ///
    /// # Errors
    /// Why the session cannot be finished.
    pub(crate) fn outcome(&mut self) -> Result<(), Error> {
        self.refused.take().map_or(Ok(()), Err)
    }

    /// Begins, now that the caller has the session for itself.
    pub(crate) fn begin(&mut self, host: &H, engine: &mut Engine<H>) {
        let first = engine.first_file(self.session);
        if engine.graph.edge_count() == 0 {
            self.ask_from(host, engine, first);
        } else {
            self.look_from(host, engine, first);
        }
    }

    /// Looks for a stretch whether others need files of the session, from one on. If all were
    /// looked at, the handlers are asked. Arrived files get no new dependencies.
    fn look_from(&mut self, host: &H, engine: &mut Engine<H>, from: Option<FileId>) {
        let looked = from.map_or(Ok(None), |from| engine.needed_elsewhere(self.session, from));
        match looked {
            Ok(Some(behind)) => self.at = At::ToLook(behind),
            Ok(None) => {
                let first = engine.first_file(self.session);
                self.ask_from(host, engine, first);
            }
            Err(why) => self.refuse(why),
        }
    }

    /// Asks for a file of the session, or for those behind it if it was lost. One that waits for its
    /// handler cannot be finished. When there are
    /// no more, all have agreed.
    fn ask_from(&mut self, host: &H, engine: &mut Engine<H>, mut next: Option<FileId>) {
        let mut budget = Budget::of_a_stretch();
        while let Some(id) = next {
            if !engine.has_handler(host, id) {
                self.refuse(engine.awaits_to_finish(id));
                return;
            }
            self.taken = engine.take_arrived(id);
            if self.taken.is_some() {
                let last = match engine.last_if_listed(self.session) {
                    Some((Some(last), way)) if last == id => Some((engine.before(id, way), way)),
                    _ => None,
                };
                self.at = At::Asked(id, last);
                return;
            }
            if !budget.has_room_for(0) {
                self.at = At::ToAsk(id);
                return;
            }
            next = engine.next_file(id);
        }
        match engine.last_if_listed(self.session) {
            Some((last, way)) => self.let_go_from(engine, last, way),
            None => self.at = At::ToArrange,
        }
    }

    /// A handler has answered.
    fn answered(&mut self, host: &H, engine: &mut Engine<H>, id: FileId, agreed: bool) {
        let next = engine.next_file(id);
        if let Some(taken) = self.taken.take() {
            engine.put_arrived(id, taken.arrived);
        }
        match agreed {
            true => self.ask_from(host, engine, next),
            false => self.refuse(engine.cannot_finish(id)),
        }
    }

    /// The next file that is let go of. Nothing is in hand.
    fn let_go_from(&mut self, engine: &mut Engine<H>, next: Option<FileId>, way: Backwards) {
        let Some(id) = next else {
            self.at = At::Done;
            return;
        };
        self.taken = engine.take_arrived(id);
        self.at = At::Agreed(id, engine.before(id, way), way);
    }
}

/// Asks a file's handler whether it lets go. Its session is locked.
pub(crate) fn can_finish<H: Lock>(host: &H, id: FileId) -> bool {
    if !host.now(|engine| engine.has_handler(host, id)) {
        return false;
    }
    let Some(taken) = host.now(|engine| engine.take_arrived(id)) else {
        // It was lost: there is nobody to be asked.
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
    if let Some(taken) = &taken {
        let_go(host, taken);
    }
    let gone = within.step(host, |engine| engine.remove_arrived(id));
    drop(gone);
    drop(taken);
    released
}

/// The handler lets go. What is taken is dropped when the engine has forgotten the file.
fn let_go<H: Lock>(host: &H, taken: &Taken<H>) {
    taken.arrived.handler.finish(host, &taken.view());
    if let Some(handler) = taken.with_flbs {
        finish_flbs(host, handler);
    }
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

    fn awaits_to_finish(&self, id: FileId) -> Error {
        let token = self.files.get(id).map_or(0, |file| file.token);
        self.about_handler(id, |handler| Error::Unhandled { token, handler })
    }

    fn cannot_finish(&self, id: FileId) -> Error {
        let token = self.files.get(id).map_or(0, |file| file.token);
        self.about_handler(id, |handler| Error::CannotFinish { token, handler })
    }
}
