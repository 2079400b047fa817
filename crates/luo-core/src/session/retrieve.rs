// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Retrieving files of the previous kernel, what they need first.
//!
//! A call restores files of its own session alone. A handler may charge the caller, and a
//! handler that fails has destroyed the file that it was to restore: the holder of one session must
//! not do that to files of another. A file that needs one of another session can be restored as
//! soon as that one is. A session that was closed, and is kept because others need its files, is
//! nobody's any more: its files are restored for the calls that need them, of callers who may have
//! that session too. A holder of a session of the administrator's who is no administrator may have
//! that session alone.

use core::cell::Cell;
use core::task::{ready, Poll};

use luo_abi::errno::Errno;
use luo_abi::rfc::State;

use crate::engine::Engine;
use crate::error::Error;
use crate::host::{Access, FileCallbacks, Host, Subject, Unrestored};
use crate::id::{FileId, SessionId};
use crate::lock::Lock;
use crate::mem::Vec;
use crate::owner::Actor;
use crate::room::with_room;
use crate::session::{Direction, File, Progress};
use crate::waits::Topic;
use crate::within::Within;

/// Restores the file that was preserved under a token, and before it all that it
/// needs, directly or not, in its session, and in closed ones of the same owner that the caller
/// may have. What it needs of others has to be restored already. Asked again, it gives the same file again; of several who ask at once, one does the
/// work.
///
/// # Errors
/// [`Error::NoToken`], [`Error::WrongDirection`], [`Error::Frozen`],
/// [`Error::NoMemory`], [`Error::Awaits`], [`Error::AwaitsHandler`],
/// [`Error::DependencyFailed`], [`Error::Lost`]; or
/// what the handler said, then and each time after: a handler that failed is not asked again,
/// unless it said that it can be ([`Unrestored::Now`]).
pub fn retrieve_file<H: Lock>(
    host: &H,
    by: Actor,
    session: SessionId,
    token: u64,
) -> Result<H::File, Error> {
    let (id, first) = with_room(|| {
        host.wait_killable(|engine| {
            ready!(engine.enter(session, Direction::Incoming))?;
            let id = engine.find_file(session, token).ok_or(Error::NoToken)?;
            let file = engine.files.get_mut(id);
            if let Some(incoming) = file.and_then(File::as_incoming_mut) {
                incoming.asked_for = true;
            }
            let needed = engine.plan(by, id)?;
            if !needed.is_empty() {
                return Poll::Ready(Ok((id, First::Needed(needed))));
            }
            // As most: it needs no file, and is begun at once.
            let begun = engine.begin_retrieve(host, id);
            begun.map_ok(|begun| (id, First::Itself(begun)))
        })?
    })?;
    match first {
        First::Itself(begun) => carry_out(host, Within::Call, begun)?.ok_or(Error::NoToken),
        First::Needed(needed) => follow(host, needed, id),
    }
}

/// What is restored first for a file.
enum First<H: Host> {
    /// The files that it needs.
    Needed(Vec<FileId>),
    /// The file itself.
    Itself(Begun<H>),
}

/// Restores a file that was registered on the device in the previous kernel, and
/// before it all that it needs of what was registered with it. It is given once: to one of
/// those who ask.
///
/// # Errors
/// [`Error::NotUpdated`], [`Error::NoToken`], [`Error::AlreadyRestored`],
/// [`Error::NoMemory`], [`Error::Awaits`], [`Error::AwaitsHandler`],
/// [`Error::DependencyFailed`], [`Error::Lost`]; or
/// what the handler said, then and each time after.
pub fn restore_file<H: Lock>(host: &H, token: u64) -> Result<(FileId, H::File), Error> {
    let (id, needed) = with_room(|| {
        host.wait_killable(|engine| {
            let id = ready!(engine.restorable(token))?;
            // Who asks for it administers the machine.
            let needed = engine.plan(Actor::Administrator, id);
            Poll::Ready(needed.map(|needed| (id, needed)))
        })?
    })?;
    let file = follow(host, needed, id)?;
    // Between the look above and here somebody else may have got it, or a reboot
    // may have come that carries it on.
    host.wait(|engine| {
        let id = ready!(engine.restorable(token))?;
        engine.set_handed(id, true);
        Poll::Ready(Ok::<_, Error>(()))
    })?;
    Ok((id, file))
}

/// Undoes [`restore_file`] for a caller who could not be told of it: the file can
/// be restored again.
pub fn put_back_file<H: Lock>(host: &H, id: FileId) {
    host.now(|engine| engine.set_handed(id, false));
}

/// Restores each file that another needs, and then that one.
fn follow<H: Lock>(host: &H, needed: Vec<FileId>, id: FileId) -> Result<H::File, Error> {
    for on in needed {
        // A file that is gone was retrieved and finished meanwhile.
        if let Err(why) = retrieve_one(host, on) {
            return Err(host.now(|engine| engine.dependency_failed(on, why)));
        }
    }
    retrieve_one(host, id)?.ok_or(Error::NoToken)
}

/// Restores one file; `None` if it is gone.
fn retrieve_one<H: Lock>(host: &H, id: FileId) -> Result<Option<H::File>, Error> {
    let begun = with_room(|| {
        host.wait_killable(|engine| {
            ready!(engine.update.admits())?;
            engine.begin_retrieve(host, id)
        })?
    })?;
    carry_out(host, Within::Call, begun)
}

/// Restores one file for a transition, which has everything for itself.
pub(crate) fn retrieve_in_transition<H: Lock>(host: &H, id: FileId) -> Result<H::File, Error> {
    // It waits for no call: one that is at it still does not end.
    let begun = with_room(|| {
        host.now(|engine| match engine.begin_retrieve(host, id) {
            Poll::Ready(begun) => begun,
            Poll::Pending => Err(Errno::EBUSY.into()),
        })
    })?;
    carry_out(host, Within::Transition, begun)?.ok_or(Error::NoToken)
}

fn carry_out<H: Lock>(host: &H, within: Within, begun: Begun<H>) -> Result<Option<H::File>, Error> {
    let job = match begun {
        Begun::Gone => return Ok(None),
        Begun::There(file) => return Ok(Some(file)),
        Begun::Retrieve(job) => job,
    };
    run(host, within, job).map(Some)
}

fn run<H: Lock>(host: &H, within: Within, job: Job<H>) -> Result<H::File, Error> {
    let Job {
        id,
        session,
        token,
        handler,
        data,
        access,
        bytes,
        wide,
    } = job;
    let of = Subject {
        file: id,
        in_call: within == Within::Call,
        carries: None,
        session,
        token,
    };
    let restored = match wide {
        Some(file) => Ok(file),
        None => handler.retrieve(host, &of, data),
    };
    // Handlers restore with all access; nobody gets more than they had. That it
    // fails may pass: the file is kept and tried again when it is asked for.
    let (answer, progress) = match restored {
        Err(Unrestored::Ever(errno)) => (Err(errno), Progress::Failed(errno)),
        Err(Unrestored::Now(errno)) => (Err(errno), Progress::Waiting),
        Ok(file) if access == Access::Full => (Ok(file.clone()), Progress::Done(file)),
        Ok(file) => match host.narrow(file.clone(), access) {
            Ok(narrow) => (Ok(narrow.clone()), Progress::Done(narrow)),
            Err(errno) => (Err(errno), Progress::Wide(file)),
        },
    };
    let object = match &progress {
        Progress::Done(file) => Some(handler.object_id(host, file)),
        _ => None,
    };
    // Mainline's orchestrator hands no sizes over.
    let learnt = match &progress {
        Progress::Done(file) if bytes == 0 => Some(handler.bytes(host, file)),
        _ => None,
    };
    let answer = answer.map_err(Error::from);
    within.step(host, |engine| {
        engine.set_progress(id, progress);
        if let Some(object) = object {
            // Memory for it was set aside at the beginning. A handler that
            // gives an object which is preserved already keeps it so.
            let _ = engine.index_object(id, object);
        }
        if let Some(bytes) = learnt {
            engine.set_bytes(id, bytes);
        }
        engine.mark_idle(session);
    });
    answer
}

/// A file that its handler is to restore.
struct Job<H: Host> {
    id: FileId,
    session: SessionId,
    token: u64,
    handler: H::Handler,
    data: u64,
    access: Access,
    /// Bytes of memory it keeps, 0 if that is not known.
    bytes: u64,
    /// It was restored, and is to be narrowed only.
    wide: Option<H::File>,
}

enum Begun<H: Host> {
    /// It is not there any more.
    Gone,
    /// It is restored already.
    There(H::File),
    /// The caller is to run the handler.
    Retrieve(Job<H>),
}

impl<H: Host> Engine<H> {
    fn set_handed(&mut self, id: FileId, handed: bool) {
        let file = self.files.get_mut(id);
        if let Some(incoming) = file.and_then(File::as_incoming_mut) {
            incoming.handed = handed;
        }
    }

    /// The file of the device with a token, if it can be given to somebody now.
    fn restorable(&self, token: u64) -> Poll<Result<FileId, Error>> {
        if self.update.is_moving() {
            return self.update.waits.pend(Topic::Transition);
        }
        if self.state() != State::Updated {
            return Poll::Ready(Err(Error::NotUpdated));
        }
        let id = self.find_device_file(Direction::Incoming, token);
        let id = id.ok_or(Error::NoToken)?;
        if self.files.get(id).is_some_and(File::is_handed) {
            return Poll::Ready(Err(Error::AlreadyRestored));
        }
        Poll::Ready(Ok(id))
    }

    /// The files to restore before one file: all that it needs in its session.
    ///
    /// # Errors
    /// Those of [`Self::hindrance`], if it needs one of another session that is not
    /// restored; [`Error::NoMemory`].
    fn plan(&mut self, by: Actor, id: FileId) -> Result<Vec<FileId>, Error> {
        if self.graph.dependency_count(id) == 0 {
            self.set_awaits(id, false);
            return Ok(Vec::new());
        }
        let (files, sessions) = (&self.files, &self.sessions);
        let session = files.get(id).map(|file| file.session);
        let owner = session.and_then(|id| sessions.get(id)).map(|of| of.owner);
        let missed = Cell::new(None);
        let leaves_out = |id: FileId| {
            let file = files.get(id);
            let arrived = file.and_then(|file| file.as_incoming()?.arrived.as_ref());
            let done = arrived.is_some_and(|file| matches!(file.progress, Progress::Done(_)));
            let of = file.map(|file| file.session);
            // What is another's is restored by nobody else, closed or not: a failure
            // would be final for whoever retrieves it again.
            let is_closed = of.and_then(|of| sessions.get(of)).is_some_and(|of| {
                of.is_closed_pending() && Some(of.owner) == owner && by.sees(of.owner)
            });
            let elsewhere = !done && !is_closed && of != session;
            if elsewhere {
                missed.set(missed.get().or(Some(id)));
            }
            done || elsewhere
        };
        let mut needed = self.graph.closure(id, leaves_out)?;
        // The last is the file itself.
        needed.pop();
        let missed = missed.get();
        self.set_awaits(id, missed.is_some());
        match missed {
            Some(missed) => Err(self.hindrance(missed)),
            None => Ok(needed),
        }
    }

    fn set_awaits(&mut self, id: FileId, awaits: bool) {
        let file = self.files.get_mut(id);
        if let Some(incoming) = file.and_then(File::as_incoming_mut) {
            incoming.awaits = awaits;
        }
    }

    /// Why files that need one of another session cannot be restored.
    fn hindrance(&self, on: FileId) -> Error {
        let incoming = self.files.get(on).and_then(File::as_incoming);
        let failed = incoming.and_then(|file| match file.arrived.as_ref()?.progress {
            Progress::Failed(errno) => Some(errno),
            _ => None,
        });
        match (failed, incoming.and_then(|file| file.lost)) {
            (Some(errno), _) => self.dependency_failed(on, errno.into()),
            (None, Some(errno)) => Error::Lost(errno),
            (None, None) => self
                .file_name(on)
                .map_or(Error::Inconsistent, Error::Awaits),
        }
    }

    fn begin_retrieve(&mut self, host: &H, id: FileId) -> Poll<Result<Begun<H>, Error>> {
        let place = self.files.get(id).map(|file| (file.session, file.token));
        let Some((session, token)) = place else {
            return Poll::Ready(Ok(Begun::Gone));
        };
        match self.sessions.get(session).map(|session| session.locked) {
            None => return Poll::Ready(Ok(Begun::Gone)),
            Some(true) => return self.update.waits.pend(Topic::Session(session)),
            Some(false) => {}
        }
        self.objects.reserve_at(self.files.last_beside(id.slot))?;
        if !self.has_handler(host, id) {
            return Poll::Ready(Err(self.about_handler(id, Error::AwaitsHandler)));
        }
        let Some(file) = self.files.get_mut(id) else {
            return Poll::Ready(Ok(Begun::Gone));
        };
        let (data, access, bytes) = (file.data, file.access, file.bytes);
        let incoming = file.as_incoming_mut();
        if let Some(errno) = incoming.as_ref().and_then(|file| file.lost) {
            return Poll::Ready(Err(Error::Lost(errno)));
        }
        let Some(arrived) = incoming.and_then(|file| file.arrived.as_mut()) else {
            return Poll::Ready(Err(Error::Inconsistent));
        };
        match &arrived.progress {
            Progress::Retrieving => self.update.waits.pend(Topic::File(id)),
            Progress::Done(file) => Poll::Ready(Ok(Begun::There(file.clone()))),
            Progress::Failed(errno) => Poll::Ready(Err((*errno).into())),
            Progress::Waiting | Progress::Wide(_) => {
                let wide = match core::mem::replace(&mut arrived.progress, Progress::Retrieving) {
                    Progress::Wide(file) => Some(file),
                    _ => None,
                };
                let handler = arrived.handler.clone();
                self.mark_busy(session);
                Poll::Ready(Ok(Begun::Retrieve(Job {
                    id,
                    session,
                    token,
                    handler,
                    data,
                    access,
                    bytes,
                    wide,
                })))
            }
        }
    }

    fn set_progress(&mut self, id: FileId, progress: Progress<H>) {
        if let Some(old) = self.files.get_mut(id).and_then(File::progress_mut) {
            *old = progress;
            self.update.waits.wake(Topic::File(id));
        }
    }

    fn dependency_failed(&self, id: FileId, why: Error) -> Error {
        match (self.file_name(id), why) {
            (Some(on), Error::Host(errno)) => Error::DependencyFailed { on, errno },
            _ => why,
        }
    }
}
