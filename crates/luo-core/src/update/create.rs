// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Making a session, also in the place of one that was closed and that an update keeps.
//!
//! What took part in a prepare stays when its session is closed: the update goes on with it. But
//! its owner may have died and been started anew. That one makes a session of the same name, and
//! may have the same files for it, from a manager that keeps descriptors, say: on mainline both
//! would be free. So the closed session is undone then, with what is frozen of it, and the new one
//! comes late. It is left alone if files of others need its files: they have agreed to an update
//! with those.

use core::task::{ready, Poll};

use crate::engine::Engine;
use crate::error::Error;
use crate::host::Host;
use crate::id::SessionId;
use crate::lock::Lock;
use crate::owner::Actor;
use crate::session::open::create_if_free;
use crate::session::preserve::unpreserve_all;
use crate::session::remove::remove_locked;
use crate::session::{Direction, SessionKind};
use crate::text::SessionName;
use crate::update::early::unfreeze_session;
use crate::within::Within;

/// Makes an outgoing session, which is the caller's, or that of the user whose name for it
/// a caller with privileges gives. One that is made when everybody has agreed to an update
/// already goes along all the same: the reboot freezes it. A session of the same name and owner
/// that was closed since everybody has agreed makes room for it, unless others need its files.
///
/// # Errors
/// [`Error::SessionExists`], [`Error::Full`] at 510,000 sessions, [`Error::Frozen`],
/// [`Error::NoMemory`], or what the host's memory says; for a user's session
/// [`Error::NameTooLong`], [`Error::BadName`], [`Error::OverQuota`],
/// [`Error::UsersOverQuota`].
pub fn create_session<H: Lock>(
    host: &H,
    by: Actor,
    name: &SessionName,
) -> Result<SessionId, Error> {
    let name = by.full_name(name)?;
    let kind = SessionKind::open(name, by.owns(&name));
    loop {
        match create_if_free(host, kind) {
            // Each time one that took part is gone, so this ends.
            Err(Error::SessionExists) if makes_room(host, &kind)? => {}
            made => return made,
        }
    }
}

/// Undoes the session that has the name of a new one, if it is closed and nobody needs it.
/// Whether it was.
fn makes_room<H: Lock>(host: &H, kind: &SessionKind) -> Result<bool, Error> {
    let Some(id) = host.now(|engine| engine.find_kept(kind)) else {
        return Ok(false);
    };
    // Without having it: files that took part as well come to need no other file meanwhile.
    let mut next = host.now(|engine| engine.sessions.get(id)?.files.first);
    while let Some(first) = next {
        match host.now(|engine| engine.needed_elsewhere(id, first)) {
            Ok(behind) => next = behind,
            Err(_) => return Ok(false),
        }
    }
    if !host.wait_killable(|engine| engine.take_kept(id))?? {
        return Ok(false);
    }
    unfreeze_session(host, id);
    unpreserve_all(host, id);
    remove_locked(host, Within::Call, id);
    Ok(true)
}

impl<H: Host> Engine<H> {
    /// The session that has the name of a new one, if it is the same owner's and closed, and
    /// an update keeps it.
    fn find_kept(&self, kind: &SessionKind) -> Option<SessionId> {
        let id = self.find_session(Direction::Outgoing, &kind.name)?;
        let session = self.sessions.get(id)?;
        (session.orphan && session.owner == kind.owner).then_some(id)
    }

    /// Takes such a session for who lets go of it; false if another does already.
    fn take_kept(&mut self, id: SessionId) -> Poll<Result<bool, Error>> {
        if !self.sessions.get(id).is_some_and(|session| session.orphan) {
            return Poll::Ready(Ok(false));
        }
        ready!(self.lock_session(id))?;
        if let Some(session) = self.sessions.get_mut(id) {
            // Whoever cancels the update need not close it.
            session.orphan = false;
            if let Some(outgoing) = session.outgoing_mut() {
                outgoing.undone = true;
            }
        }
        Poll::Ready(Ok(true))
    }
}
