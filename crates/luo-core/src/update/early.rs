// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Freezing one session before the others, so that a slow one does not make the blackout of all
//! longer.
//!
//! ```text
//! not frozen --freeze_session--> being frozen --all have agreed--> frozen
//!    ^  ^                             |                               |
//!    |  '------------a veto-----------'                               |
//!    '---a cancel, or a freeze of all, or a reboot, that fails--------'
//! ```
//!
//! A session that is frozen does not change: nothing is added, taken out or declared. Its
//! handlers have had their last look, so the freeze of all and the reboot pass over it. Whatever
//! undoes a freeze of all undoes this one with it, and so does the close of the session.
//!
//! Files are frozen before what they need. So a session with a file that another session's file
//! needs has to wait until that other one is frozen. But no user's file keeps another owner's
//! session from being frozen, as none keeps the machine from its update.

use core::task::{ready, Poll};

use crate::engine::{order_session, Engine};
use crate::error::Error;
use crate::graph::{First, Target};
use crate::host::Host;
use crate::id::{FileId, SessionId};
use crate::lock::Lock;
use crate::owner::Owner;
use crate::session::{Direction, Early, Session};
use crate::update::files::{freeze_file, unfreeze_file};
use crate::within::Within;

/// Freezes an outgoing session now, files that need others before those.
///
/// # Errors
/// The session is as before. [`Error::Veto`] names the file whose handler refuses,
/// [`Error::Misses`] one that needs what is not there, [`Error::NeededFirst`] one that is to be
/// frozen first and is another session's; [`Error::SessionFrozen`], [`Error::Frozen`],
/// [`Error::WrongDirection`]; EAGAIN if the caller was killed while it waited.
pub fn freeze_session<H: Lock>(host: &H, id: SessionId) -> Result<(), Error> {
    host.wait_killable(|engine| {
        ready!(engine.enter(id, Direction::Outgoing))?;
        engine.may_freeze(id)?;
        ready!(engine.lock_session(id))?;
        engine.set_early(id, Early::UnderWay);
        Poll::Ready(Ok::<(), Error>(()))
    })??;
    let mut outcome = look(host, id).and_then(|()| freeze_files(host, id));
    while outcome.is_ok() {
        if Within::Call.step(host, |engine| engine.end_freezing(id)) {
            return Ok(());
        }
        outcome = look(host, id).inspect_err(|_| unfreeze_session(host, id));
    }
    Within::Call.step(host, |engine| {
        engine.set_early(id, Early::Not);
        engine.unlock_session(id);
    });
    outcome
}

/// Looks whether all that the session's files need is there, and whether what has to be frozen
/// first is. While it is being frozen no file comes to need one of it.
fn look<H: Lock>(host: &H, session: SessionId) -> Result<(), Error> {
    let mut next = host.now(|engine| match engine.graph.edge_count() {
        0 => None,
        _ => engine.sessions.get(session)?.files.first,
    });
    while let Some(first) = next {
        next = host.now(|engine| engine.look_who_is_first(session, first))?;
    }
    Ok(())
}

fn freeze_files<H: Lock>(host: &H, session: SessionId) -> Result<(), Error> {
    let mut next = order_session(host, session, First::Dependents).first();
    while let Some(id) = next {
        if let Err(errno) = freeze_file(host, Within::Call, id) {
            let why = host.now(|engine| engine.note_veto(id, errno));
            unfreeze_back_from(host, Some(id));
            return Err(why);
        }
        next = host.now(|engine| engine.graph.next_in_order(id));
    }
    Ok(())
}

/// Unfreezes what is frozen of a session that the caller has for itself, the last frozen first.
pub(crate) fn unfreeze_session<H: Lock>(host: &H, session: SessionId) {
    // The order is not stored: made anew it is the same.
    let last = order_session(host, session, First::Dependents).last();
    unfreeze_back_from(host, last);
}

fn unfreeze_back_from<H: Lock>(host: &H, mut next: Option<FileId>) {
    while let Some(id) = next {
        next = host.now(|engine| engine.graph.prev_in_order(id));
        if host.now(|engine| engine.is_frozen(id)) {
            unfreeze_file(host, Within::Call, id);
        }
    }
}

impl<H: Host> Engine<H> {
    fn may_freeze(&self, id: SessionId) -> Result<(), Error> {
        self.may_change_session(id)?;
        let session = self.sessions.get(id).and_then(Session::outgoing);
        let made = session.ok_or(Error::WrongDirection)?.made;
        match self.update.may_change(made) {
            // What has agreed to the update may be frozen for it.
            Err(Error::Prepared) => Ok(()),
            may => may,
        }
    }

    /// All files of a session are frozen, and so is the session, unless the call has to look again.
    fn end_freezing(&mut self, id: SessionId) -> bool {
        if self.early(id) == Early::LookAgain {
            self.set_early(id, Early::UnderWay);
            return false;
        }
        self.set_early(id, Early::Frozen);
        self.unlock_session(id);
        true
    }

    /// Looks at a stretch of a session's files, which begins at `first`, for [`look`]; gives the
    /// one behind it.
    fn look_who_is_first(
        &self,
        session: SessionId,
        first: FileId,
    ) -> Result<Option<FileId>, Error> {
        let neighbours = |graph: &crate::graph::Graph, id| {
            let needed = match graph.missing_count(id) {
                0 => 0,
                _ => graph.dependency_count(id),
            };
            graph.dependent_count(id).saturating_add(needed)
        };
        self.look_along(first, neighbours, |id, file| {
            let token = file.token;
            if self.graph.missing_count(id) > 0 {
                let gone = |(_, target)| match target {
                    Target::Gone(on) => Some(on),
                    Target::File(_) => None,
                };
                if let Some(on) = self.graph.dependencies(id).find_map(gone) {
                    return Err(Error::Misses { token, on });
                }
            }
            let is_first = |by: &FileId| self.is_frozen_before(session, *by);
            match self.graph.dependents(id).find(is_first) {
                None => Ok(()),
                Some(by) => {
                    let by = self.file_name(by).ok_or(Error::Inconsistent)?;
                    Err(Error::NeededFirst { token, by })
                }
            }
        })
    }

    /// Whether a file that needs one of a session's has to be frozen first, and is not.
    fn is_frozen_before(&self, session: SessionId, by: FileId) -> bool {
        let Some(file) = self.files.get(by) else {
            return false;
        };
        if file.session == session || self.is_frozen(by) || self.is_lost(by) {
            return false;
        }
        let owner = |id| self.sessions.get(id).map_or(Owner::Nobody, |of| of.owner);
        !self.is_users(by) || owner(file.session) == owner(session)
    }

    /// Notes that a handler refuses to freeze a file of a session that is being frozen.
    fn note_veto(&mut self, id: FileId, errno: luo_abi::errno::Errno) -> Error {
        let Some(file) = self.files.get_mut(id) else {
            return Error::Inconsistent;
        };
        let token = file.token;
        if let Some(outgoing) = file.as_outgoing_mut() {
            outgoing.veto = Some(errno);
        }
        self.about_handler(id, |handler| Error::Veto {
            token,
            handler,
            errno,
        })
    }
}
