// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Preserving a file, and undoing it.

use core::task::{ready, Poll};

use luo_abi::errno::Errno;

use super::flb::{acquire_flbs, release_flbs};
use crate::block::Room;
use crate::engine::Engine;
use crate::error::Error;
use crate::host::{Frozen, Host, Preserved};
use crate::id::{FileId, HandlerId, SessionId};
use crate::list::Links;
use crate::session::{Direction, File, Live, Stage};

/// Preserves a file in an outgoing session under a token.
///
/// `open` gives the file; it is called after the token is known to be free, so
/// that a taken token is told before a bad descriptor. It must not wait for the
/// caller: a freeze waits for it.
///
/// # Errors
/// [`Error::TokenExists`], [`Error::WrongDirection`], [`Error::NoHandler`],
/// [`Error::AlreadyPreserved`], [`Error::Full`] at 630,000 files in a session,
/// [`Error::Frozen`], [`Error::NoMemory`]; what `open`, an FLB or the handler
/// says.
pub fn preserve_file<H: Host>(
    host: &H,
    session: SessionId,
    token: u64,
    open: impl FnOnce() -> Result<H::File, Errno>,
) -> Result<(), Error> {
    let id = reserve(host, session, token)?;
    let filled = fill(host, id, open);
    // Whatever a failed one held is dropped without the lock.
    let undone = host.with(|engine| {
        engine.mark_idle(session);
        Poll::Ready(match filled {
            Ok(()) => None,
            Err(_) => Some(engine.remove_outgoing_file(session, id)),
        })
    });
    drop(undone);
    filled
}

fn reserve<H: Host>(host: &H, session: SessionId, token: u64) -> Result<FileId, Error> {
    let mut spare = None;
    loop {
        let attempt = host.with(|engine| engine.reserve_file(session, token, &mut spare))?;
        match attempt {
            Some(id) => return Ok(id),
            None => spare = Some(host.alloc_block()?),
        }
    }
}

fn fill<H: Host>(
    host: &H,
    id: FileId,
    open: impl FnOnce() -> Result<H::File, Errno>,
) -> Result<(), Error> {
    let file = open()?;
    let (handler_id, handler, pin) = find_handler(host, &file)?;
    let object = host.object_id(&handler, &file);
    host.with(|engine| Poll::Ready(engine.assign(id, handler_id, object)))?;
    let flbs = acquire_flbs(host, handler_id)?;
    match host.preserve(&handler, &file) {
        Ok(Preserved { data, private }) => {
            let mut live = Some(Live {
                handler,
                file,
                private,
                pin,
                flbs,
            });
            host.with(|engine| {
                if let Some(file) = engine.files.get_mut(id) {
                    file.data = data;
                    file.stage = Stage::Preserved(live.take());
                }
                Poll::Ready(())
            });
            Ok(())
        }
        Err(errno) => {
            release_flbs(host, handler_id, flbs);
            Err(errno.into())
        }
    }
}

/// The first handler that knows the file, with its owner pinned.
fn find_handler<H: Host>(
    host: &H,
    file: &H::File,
) -> Result<(HandlerId, H::Handler, H::Pin), Error> {
    let mut after = None;
    loop {
        let next = host.with(|engine| Poll::Ready(engine.next_handler(host, after)));
        let (id, pinned) = next.ok_or(Error::NoHandler)?;
        if let Some((handler, pin)) = pinned {
            if host.can_preserve(&handler, file) {
                return Ok((id, handler, pin));
            }
        }
        after = Some(id);
    }
}

/// Undoes the last file of a session that the caller has claimed. False if
/// there is none.
pub(super) fn unpreserve_last<H: Host>(host: &H, session: SessionId) -> bool {
    let last = host.with(|engine| Poll::Ready(engine.take_last(session)));
    let Some((id, handler, live, data)) = last else {
        return false;
    };
    if let Some(mut live) = live {
        host.unpreserve(Frozen {
            handler: &live.handler,
            file: &live.file,
            data,
            private: &mut live.private,
        });
        if let Some(handler) = handler {
            release_flbs(host, handler, live.flbs);
        }
        let gone = host.with(|engine| Poll::Ready(engine.remove_outgoing_file(session, id)));
        drop(gone);
        // The file and then the pin on its handler's owner go last.
        let Live { file, pin, .. } = live;
        drop(file);
        drop(pin);
    } else {
        let gone = host.with(|engine| Poll::Ready(engine.remove_outgoing_file(session, id)));
        drop(gone);
    }
    true
}

type LastFile<H> = (FileId, Option<HandlerId>, Option<Live<H>>, u64);

impl<H: Host> Engine<H> {
    /// Takes a token, or `None` if a page is wanted first.
    fn reserve_file(
        &mut self,
        session: SessionId,
        token: u64,
        spare: &mut Option<H::Block>,
    ) -> Poll<Result<Option<FileId>, Error>> {
        ready!(self.enter(session, Direction::Outgoing))?;
        Poll::Ready(self.try_reserve_file(session, token, spare))
    }

    fn try_reserve_file(
        &mut self,
        session: SessionId,
        token: u64,
        spare: &mut Option<H::Block>,
    ) -> Result<Option<FileId>, Error> {
        if self.find_file(session, token).is_some() {
            return Err(Error::TokenExists);
        }
        let entry = self.sessions.get_mut(session).ok_or(Error::NoSession)?;
        let before = entry.files.len;
        match entry.chain.reserve(before.saturating_add(1), spare)? {
            Room::WantsBlock => Ok(None),
            Room::Ready => {
                let added = self.add_file(File {
                    session,
                    token,
                    handler: None,
                    object: None,
                    data: 0,
                    stage: Stage::Reserved,
                    links: Links::new(),
                });
                match added {
                    Ok(id) => {
                        self.mark_busy(session);
                        Ok(Some(id))
                    }
                    Err(why) => {
                        if let Some(entry) = self.sessions.get_mut(session) {
                            *spare = entry.chain.surplus(before);
                        }
                        Err(why)
                    }
                }
            }
        }
    }

    /// Gives a reserved file its handler and its object.
    fn assign(&mut self, id: FileId, handler: HandlerId, object: u64) -> Result<(), Error> {
        // It may have been unregistered since it was found.
        let entry = self.handlers.get_mut(handler);
        let entry = entry.filter(|entry| entry.registered);
        let entry = entry.ok_or(Error::NoHandler)?;
        entry.files = entry.files.saturating_add(1);
        match self.files.get_mut(id) {
            Some(file) => file.handler = Some(handler),
            None => return Err(Error::Inconsistent),
        }
        // What retrievals under way have set aside stays so: each is busy, and
        // so is this operation.
        self.objects.reserve(self.busy)?;
        // On failure the file is removed, and its handler released with it.
        self.index_object(id, object)
    }

    fn take_last(&mut self, session: SessionId) -> Option<LastFile<H>> {
        let id = self.sessions.get(session)?.files.last?;
        let file = self.files.get_mut(id)?;
        let live = match &mut file.stage {
            Stage::Preserved(live) => live.take(),
            _ => None,
        };
        Some((id, file.handler, live, file.data))
    }

    /// Takes an outgoing file out, and the page its record does not need any
    /// more; both for the caller to drop.
    fn remove_outgoing_file(
        &mut self,
        session: SessionId,
        id: FileId,
    ) -> (Option<File<H>>, Option<H::Block>) {
        let file = self.remove_file(id);
        let page = self.sessions.get_mut(session).and_then(|entry| {
            let records = entry.files.len;
            entry.chain.surplus(records)
        });
        (file, page)
    }
}
