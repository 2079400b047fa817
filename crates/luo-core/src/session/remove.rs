// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Removing sessions that an operation has for itself.

use crate::engine::Engine;
use crate::error::Error;
use crate::host::Host;
use crate::id::SessionId;
use crate::lock::Lock;
use crate::session::finish::{finish_begun, Finishing};
use crate::session::preserve::trim_records;
use crate::session::FileChain;
use crate::within::Within;

/// Finishes and removes an incoming session that the caller has for itself, from where
/// [`Finishing::begin`] has begun.
pub(crate) fn end_incoming<H: Lock>(
    host: &H,
    id: SessionId,
    finishing: &mut Finishing<H>,
) -> Result<(), Error> {
    finish_begun(host, finishing);
    if let Err(why) = finishing.outcome() {
        Within::Call.step(host, |engine| {
            engine.unlock_closed(id);
            // The session that needed this one may have been finished since. The call that did so
            // has passed this one by, because it was locked, so it is tried again.
            if matches!(why, Error::Needed { token, .. } if engine.is_free_now(id, token)) {
                engine.want_retry(id);
            }
        });
        return Err(why);
    }
    remove_locked(host, Within::Call, id);
    Ok(())
}

pub(crate) fn remove_locked<H: Lock>(host: &H, within: Within, id: SessionId) {
    let gone = within.step(host, |engine| engine.take_out(id));
    drop_out(host, gone);
}

/// Pages that nobody needs any more, since a session was removed: for the caller to drop
/// without the lock, by [`drop_out`].
pub(crate) type Out<H> = (
    Option<FileChain<H>>,
    Option<<H as Host>::Block>,
    Option<<H as Host>::Block>,
);

pub(crate) fn drop_out<H: Lock>(host: &H, gone: Out<H>) {
    let (_, _, record_page) = &gone;
    let more = record_page.is_some();
    drop(gone);
    if more {
        trim_records(host);
    }
}

impl<H: Host> Engine<H> {
    /// Removes a session that has no files and that the caller has for itself.
    pub(crate) fn take_out(&mut self, id: SessionId) -> Out<H> {
        self.mark_idle(id);
        self.take_out_idle(id)
    }

    /// [`Self::take_out`] of a session that nobody has, or could have, for itself.
    pub(crate) fn take_out_idle(&mut self, id: SessionId) -> Out<H> {
        let session = self.remove_session(id);
        let outgoing = self.outgoing.len;
        let page = self.chain.surplus(outgoing);
        (session, page, self.surplus_record_page())
    }
}
