// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Dependencies that no program has declared: a handler says which other file its file needs, and
//! gets that file back.
//!
//! In the old kernel a handler that preserves a file names another one, which is preserved in
//! the same session, and gets its token ([`need_object`]). From then on the engine treats that as
//! a dependency like any other: the other file is frozen later and restored first, and an
//! update without it fails. A handler that has the other file and not its number says the same by
//! [`need_file`]. In the next kernel the handler asks for the file with that token
//! ([`needed_file`]), which is restored by then.

use core::task::{ready, Poll};

use crate::engine::Engine;
use crate::error::Error;
use crate::handover::block::Room;
use crate::host::{FileCallbacks, Host, Subject};
use crate::id::FileId;
use crate::lock::Lock;
use crate::owner::Actor;
use crate::quota::Quota;
use crate::session::dependency::MAX_DEPENDENCIES_PER_SESSION;
use crate::session::pages::with_pages;
use crate::session::preserve::find_handler;
use crate::session::{Direction, File, Progress};
use crate::within::Within;

/// Says within `preserve` that the file which is being preserved needs another file of its
/// session, by the number that the other one's handler gives for it
/// ([`crate::host::FileCallbacks::object_id`]); gives the token of that one. Said twice, it counts once. It is
/// forgotten when the file is taken out of its session.
///
/// # Errors
/// [`Error::NoToken`] if the other file is not preserved in the session, or is the same one;
/// otherwise those of [`crate::ops::add_dependency`].
pub fn need_object<H: Lock>(host: &H, of: &Subject, object: u64) -> Result<u64, Error> {
    with_pages(host, |engine, spares| {
        if of.in_call {
            ready!(engine.update.may_go_on());
        }
        let (on, token) = engine.beside(of, object).ok_or(Error::NoToken)?;
        if engine.graph.has(of.file, on) {
            return Poll::Ready(Ok(Some(token)));
        }
        engine.may_need_one_more(of)?;
        let room = engine.try_declare(Engine::declare_new, of.file, on, spares)?;
        Poll::Ready(Ok(matches!(room, Room::Ready).then_some(token)))
    })
}

/// Says the same of a file that the caller has: what its handler knows it by is found out.
///
/// # Errors
/// [`Error::NoHandler`] if no handler takes it; otherwise those of [`need_object`].
pub fn need_file<H: Lock>(host: &H, of: &Subject, file: &H::File) -> Result<u64, Error> {
    // Preserved already, if it is in the session, by whoever could.
    let (_, handler, pin) = find_handler(host, Actor::Administrator, of.file, file)?;
    let object = handler.object_id(host, file);
    drop(pin);
    need_object(host, of, object)
}

/// Gives within `retrieve` a file of the same session that the file which is being restored
/// needs. It is restored already.
///
/// # Errors
/// [`Error::NoToken`] if the session has no such file, [`Error::NoDependency`] if nobody has
/// said that this one needs it, [`Error::Awaits`] if it is not restored.
pub fn needed_file<H: Lock>(host: &H, of: &Subject, token: u64) -> Result<H::File, Error> {
    let within = match of.in_call {
        true => Within::Call,
        false => Within::Transition,
    };
    within.step(host, |engine| engine.needed(of, token))
}

impl<H: Host> Engine<H> {
    /// The other file of a session that stands for an object, and its token.
    fn beside(&self, of: &Subject, object: u64) -> Option<(FileId, u64)> {
        let id = self.file_of_object(object).filter(|&id| id != of.file)?;
        let file = self.files.get(id)?;
        (file.session == of.session).then_some((id, file.token))
    }

    fn may_need_one_more(&self, of: &Subject) -> Result<(), Error> {
        let session = self.sessions.get(of.session).ok_or(Error::NoSession)?;
        if session.direction() != Direction::Outgoing {
            return Err(Error::WrongDirection);
        }
        if session.dependencies >= MAX_DEPENDENCIES_PER_SESSION {
            return Err(Error::TooManyDependencies);
        }
        self.may_hold(of.session, Quota::Dependencies, 1)
    }

    fn needed(&self, of: &Subject, token: u64) -> Result<H::File, Error> {
        let on = self.find_file(of.session, token).ok_or(Error::NoToken)?;
        if !self.graph.has(of.file, on) {
            return Err(Error::NoDependency);
        }
        let incoming = self.files.get(on).and_then(File::as_incoming);
        let arrived = incoming.and_then(|file| file.arrived.as_ref());
        match arrived.map(|arrived| &arrived.progress) {
            Some(Progress::Done(file)) => Ok(file.clone()),
            _ => Err(self
                .file_name(on)
                .map_or(Error::Inconsistent, Error::Awaits)),
        }
    }
}
