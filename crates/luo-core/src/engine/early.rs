// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Which sessions are frozen before the others; see `crate::update::early`.

use crate::engine::Engine;
use crate::error::Error;
use crate::host::Host;
use crate::id::{FileId, SessionId};
use crate::session::{Early, File, Session};

impl<H: Host> Engine<H> {
    pub(crate) fn early(&self, id: SessionId) -> Early {
        let session = self.sessions.get(id).and_then(Session::outgoing);
        session.map_or(Early::Not, |session| session.early)
    }

    pub(crate) fn set_early(&mut self, id: SessionId, early: Early) {
        let session = self.sessions.get_mut(id).and_then(Session::outgoing_mut);
        let Some(session) = session else {
            return;
        };
        let before = core::mem::replace(&mut session.early, early);
        self.frozen_early = match (before, early) {
            (Early::Not, Early::Not) => self.frozen_early,
            (Early::Not, _) => self.frozen_early.saturating_add(1),
            (_, Early::Not) => self.frozen_early.saturating_sub(1),
            _ => self.frozen_early,
        };
    }

    /// Whether a session for the next kernel is frozen before the others, or being frozen.
    pub(crate) fn is_frozen_early(&self, id: SessionId) -> bool {
        self.early(id) != Early::Not
    }

    /// Whether files of a session may come and go.
    ///
    /// # Errors
    /// [`Error::SessionFrozen`].
    pub(crate) fn may_change_session(&self, id: SessionId) -> Result<(), Error> {
        match self.is_frozen_early(id) {
            true => Err(Error::SessionFrozen),
            false => Ok(()),
        }
    }

    /// All that was frozen is unfrozen, but for what calls have in their hands. Where nobody has
    /// frozen a session before the others, none is looked at.
    pub(crate) fn forget_early(&mut self) {
        let mut next = match self.frozen_early {
            0 => None,
            _ => self.outgoing.first,
        };
        while let Some((id, session)) = next.and_then(|id| Some((id, self.sessions.get(id)?))) {
            next = session.links.next;
            match self.early(id) {
                Early::Not | Early::LookAgain => {}
                Early::UnderWay => self.set_early(id, Early::LookAgain),
                Early::Frozen => self.set_early(id, Early::Not),
            }
        }
    }

    /// Whether a file is frozen.
    pub(crate) fn is_frozen(&self, id: FileId) -> bool {
        let file = self.files.get(id).and_then(File::as_outgoing);
        file.is_some_and(|file| file.frozen)
    }
}
