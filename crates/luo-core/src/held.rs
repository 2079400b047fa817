// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! How long handlers wait for files that programs hold.
//!
//! A program that writes to a file has the file locked while the bytes come from its memory. That
//! memory may be behind a server of the program's own, so this can last for as long as the program
//! likes. A call waits for its own file for some pauses. In a transition all files of a kind may
//! take as many together, so that it takes no longer however many are held.

use luo_abi::errno::Errno;

use crate::engine::Engine;
use crate::error::Error;
use crate::host::{Host, Subject};
use crate::lock::Lock;

pub use crate::patience::{Files, PAUSES, PAUSE_MILLIS};

/// Does something with a file that somebody may have locked: gives it the pauses that it may wait
/// for that, of which it takes those that it has waited. When there are none left in a transition,
/// it may still wait for a moment: one that is busy and not held is free then.
///
/// # Errors
/// Those of the work.
pub fn wait_for_holder<H: Lock, R>(
    host: &H,
    of: &Subject,
    files: Files,
    work: impl FnOnce(&mut u32) -> Result<R, Errno>,
) -> Result<R, Errno> {
    if of.in_call {
        return work(&mut { PAUSES });
    }
    let (is_users, mut pauses) = host.now(|engine| {
        // Of a session that is not there nobody waits for the file's owner.
        let is_users = !matches!(engine.user_of(of), Ok(None));
        (is_users, engine.patiences.take_half(files, is_users))
    });
    let done = work(&mut pauses);
    host.now(|engine| engine.patiences.give_back(files, is_users, pauses));
    done
}

impl<H: Host> Engine<H> {
    /// The user whose session a file is in; none is the administrator.
    pub(crate) fn user_of(&self, of: &Subject) -> Result<Option<u32>, Error> {
        let session = self.sessions.get(of.session).ok_or(Error::NoSession)?;
        Ok(session.owner.user())
    }
}
