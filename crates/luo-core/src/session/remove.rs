// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Removing sessions that an operation has for itself.

use crate::error::Error;
use crate::id::SessionId;
use crate::lock::Lock;
use crate::session::finish::finish_locked;
use crate::session::preserve::trim_records;
use crate::session::State;

/// Finishes and removes an incoming session that the caller has for itself.
pub(crate) fn end_incoming<H: Lock>(host: &H, id: SessionId) -> Result<(), Error> {
    if let Err(why) = finish_locked(host, id) {
        host.now(|engine| {
            engine.unlock_session(id, State::CLOSED_PENDING);
        });
        return Err(why);
    }
    remove_locked(host, id);
    Ok(())
}

pub(crate) fn remove_locked<H: Lock>(host: &H, id: SessionId) {
    // The session's pages are dropped without the lock.
    let gone = host.now(|engine| {
        engine.mark_idle(id);
        let session = engine.remove_session(id);
        let outgoing = engine.outgoing.len;
        let page = engine.chain.surplus(outgoing);
        (session, page, engine.surplus_record_page())
    });
    let (_, _, record_page) = &gone;
    let more = record_page.is_some();
    drop(gone);
    if more {
        trim_records(host);
    }
}
