// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Preserving a file at once, registering it for prepare, and undoing both.

use core::task::{ready, Poll};

use luo_abi::errno::Errno;

use crate::engine::{backwards_in, Engine};
use crate::error::Error;
use crate::handover::block::{Room, Spares};
use crate::host::{Access, FileCallbacks, Host, Outgoing, Preserved, Subject};
use crate::id::{FileId, HandlerId, SessionId};
use crate::lock::Lock;
use crate::owner::Actor;
use crate::participant::flb::Held;
use crate::participant::flb_life::{acquire_flbs, release_flbs};
use crate::quota::Quota;
use crate::room::with_room;
use crate::session::pages::with_pages;
use crate::session::{Direction, File, Live, Source, Stage};
use crate::within::Within;

/// Preserves a file in an outgoing session under a token.
///
/// `open` gives the file; it is called after the token is known to be free, so
/// that a taken token is told before a bad descriptor. It must not wait for the
/// caller: a transition waits for it.
///
/// A caller without privileges preserves what users may ([`Host::user_kinds`]), whosever the
/// session is: what a kernel does with a file that it has no handler for concerns all.
///
/// # Errors
/// [`Error::TokenExists`], [`Error::WrongDirection`], [`Error::NoHandler`],
/// [`Error::AlreadyPreserved`], [`Error::Full`] at 630,000 files in a session,
/// [`Error::SessionFrozen`], [`Error::Frozen`], [`Error::NoMemory`]; what `open`, an FLB or the handler says.
pub fn preserve_file<H: Lock>(
    host: &H,
    by: Actor,
    session: SessionId,
    token: u64,
    open: impl FnOnce() -> Result<H::File, Errno>,
) -> Result<(), Error> {
    let whenever = |_: &Engine<H>| Poll::Ready(Ok(()));
    add_file(host, session, token, whenever, |id| {
        let (handler, source) = find_source(host, by, id, open)?;
        let of = Subject {
            file: id,
            in_call: true,
            carries: None,
            session,
            token,
        };
        let (live, data) =
            preserve_source(host, &of, handler, source).map_err(|(why, source)| {
                drop(source);
                why
            })?;
        // It may have grown until the handler fixed its size.
        let bytes = live.source.handler.bytes(host, &live.source.file);
        if let Err(why) = host.now(|engine| engine.grow(id, bytes)) {
            drop(undo_preserve(host, Some(handler), live, data));
            return Err(why);
        }
        Ok((Stage::Preserved(Some(live)), data))
    })
}

/// The stage of a file once it is filled, and its handler's handle.
pub(crate) type Filled<H> = (Stage<H>, u64);

/// Takes a token as soon as `may` allows it, runs `fill` for the file, and gives the
/// token back if that fails.
pub(crate) fn add_file<H: Lock>(
    host: &H,
    session: SessionId,
    token: u64,
    may: impl Fn(&Engine<H>) -> Poll<Result<(), Error>>,
    fill: impl FnOnce(FileId) -> Result<Filled<H>, Error>,
) -> Result<(), Error> {
    // The hash is made once for all tries.
    let mut hash = None;
    let id = with_pages(host, |engine, spares| {
        ready!(may(engine))?;
        ready!(engine.enter(session, Direction::Outgoing))?;
        engine.may_change_session(session)?;
        let hash = *hash.get_or_insert_with(|| engine.token_hash(session, token));
        if engine.find_file_hashed(hash, session, token).is_some() {
            return Poll::Ready(Err(Error::TokenExists));
        }
        engine.may_hold(session, Quota::Files, 1)?;
        Poll::Ready(engine.reserve_free(session, token, hash, spares))
    })?;
    match fill(id) {
        Ok((mut stage, data)) => {
            Within::Call.step(host, |engine| {
                engine.mark_idle(session);
                engine.fill(id, &mut stage, data);
            });
            // What the file had before goes here, without the lock.
            drop(stage);
            Ok(())
        }
        Err(why) => {
            let undone = Within::Call.step(host, |engine| {
                engine.mark_idle(session);
                engine.remove_outgoing_file(session, id)
            });
            drop(undone);
            Err(why)
        }
    }
}

/// Takes a token for a transition, which has everything for itself.
pub(crate) fn reserve_in_transition<H: Lock>(
    host: &H,
    session: SessionId,
    token: u64,
) -> Result<FileId, Error> {
    with_pages(host, |engine, spares| {
        // For the object that it takes over from the original, too.
        engine.files.reserve(1)?;
        engine.objects.reserve_at(engine.files.last_with_next())?;
        let reserved = engine.reserve_file(session, token, spares);
        if let Ok(Some(_)) = reserved {
            engine.mark_idle(session);
        }
        Poll::Ready(reserved)
    })
}

/// Opens a file and finds who handles it; the file counts as preserved for
/// everybody else from here on.
pub(crate) fn find_source<H: Lock>(
    host: &H,
    by: Actor,
    id: FileId,
    open: impl FnOnce() -> Result<H::File, Errno>,
) -> Result<(HandlerId, Source<H>), Error> {
    let file = open()?;
    let (handler_id, handler, pin) = find_handler(host, by, id, &file)?;
    let object = handler.object_id(host, &file);
    let (bytes, access) = (handler.bytes(host, &file), host.access(&file));
    with_room(|| host.now(|engine| engine.assign(id, handler_id, object, bytes, access)))?;
    let source = Source { handler, file, pin };
    Ok((handler_id, source))
}

/// A preserved file, and the handler's handle.
pub(crate) type Made<H> = (Live<H>, u64);

/// Runs the FLBs' preserve and the handler's; gives the source back with the
/// error if one fails.
pub(crate) fn preserve_source<H: Lock>(
    host: &H,
    of: &Subject,
    handler: HandlerId,
    source: Source<H>,
) -> Result<Made<H>, (Error, Source<H>)> {
    let flbs = match acquire_flbs(host, handler) {
        Ok(flbs) => flbs,
        Err(why) => return Err((why, source)),
    };
    match source.handler.preserve(host, of, &source.file) {
        Ok(Preserved { data, private }) => {
            let live = Live {
                private,
                source,
                flbs,
            };
            Ok((live, data))
        }
        Err(errno) => {
            release_flbs(host, handler, flbs);
            Err((errno.into(), source))
        }
    }
}

/// Makes a file a preserved one, in a transition.
pub(crate) fn install<H: Lock>(host: &H, id: FileId, (live, data): Made<H>) {
    let mut stage = Stage::Preserved(Some(live));
    host.now(|engine| engine.fill(id, &mut stage, data));
}

/// Makes a file a registered one again, in a transition.
pub(crate) fn put_back_source<H: Lock>(host: &H, id: FileId, source: Source<H>) {
    drop(host.now(|engine| engine.replace_stage(id, Stage::Registered(Some(source)))));
}

/// The first handler that knows the file, with its owner pinned: of those that `of`, or a file
/// beside it, may have if somebody preserves it.
pub(crate) fn find_handler<H: Lock>(
    host: &H,
    by: Actor,
    of: FileId,
    file: &H::File,
) -> Result<(HandlerId, H::Handler, H::Pin), Error> {
    let mut after = None;
    loop {
        let next = host.now(|engine| engine.next_handler(host, by, of, after));
        let (id, pinned) = next.ok_or(Error::NoHandler)?;
        if let Some((handler, pin)) = pinned {
            if handler.can_preserve(host, file) {
                return Ok((id, handler, pin));
            }
        }
        after = Some(id);
    }
}

/// Takes one file back out of an outgoing session. Files that need it miss it
/// from now on.
///
/// # Errors
/// [`Error::NoToken`], [`Error::WrongDirection`], [`Error::NoSession`], [`Error::SessionFrozen`];
/// [`Error::Prepared`] and [`Error::Frozen`] for a file that took part in the prepare.
pub fn unpreserve_file<H: Lock>(host: &H, session: SessionId, token: u64) -> Result<(), Error> {
    // The whole session: nothing else is done with the file meanwhile.
    let id = host.wait_killable(|engine| {
        ready!(engine.enter(session, Direction::Outgoing))?;
        let Some(id) = engine.find_file(session, token) else {
            return Poll::Ready(Err(Error::NoToken));
        };
        engine.may_change_file(id)?;
        engine.lock_session(session).map_ok(|()| id)
    })??;
    remove_preserved(host, Within::Call, session, id);
    Within::Call.step(host, |engine| engine.unlock_session(session));
    Ok(())
}

/// Undoes all files of an outgoing session that the caller has locked: those
/// that need others before what they need, else the last first.
pub(crate) fn unpreserve_all<H: Lock>(host: &H, session: SessionId) {
    let (mut next, way) = backwards_in(host, session);
    while let Some(id) = next {
        // A step for as much as can be: a host may have users stand in line for each.
        let taken;
        (next, taken) = host.now(|engine| (engine.before(id, way), engine.take_live(id)));
        remove_taken(host, Within::Call, session, id, taken);
    }
}

/// Undoes one file of a session that the caller has locked, or of one that
/// nobody else can get at.
pub(crate) fn remove_preserved<H: Lock>(host: &H, within: Within, session: SessionId, id: FileId) {
    let taken = host.now(|engine| engine.take_live(id));
    remove_taken(host, within, session, id, taken);
}

/// [`remove_preserved`] once what is preserved of the file is taken out.
fn remove_taken<H: Lock>(
    host: &H,
    within: Within,
    session: SessionId,
    id: FileId,
    taken: Option<Taken<H>>,
) {
    // The file and then the pin on its handler's owner go last.
    let mut source = taken.map(|(live, handler, data)| undo_preserve(host, handler, live, data));
    let gone = within.step(host, |engine| {
        source = source.take().or_else(|| engine.take_source(id));
        engine.remove_outgoing_file(session, id)
    });
    let (_, _, record_page) = &gone;
    let more = record_page.is_some();
    drop(gone);
    drop(source);
    if more {
        trim_records(host);
    }
}

/// Runs the handler's unpreserve and releases the FLBs; gives back what there was
/// before the file was preserved.
pub(crate) fn undo_preserve<H: Lock>(
    host: &H,
    handler: Option<HandlerId>,
    live: Live<H>,
    data: u64,
) -> Source<H> {
    let Live {
        mut private,
        source,
        flbs,
    } = live;
    let file = Outgoing {
        file: &source.file,
        in_call: false,
        data,
        private: &mut private,
    };
    source.handler.unpreserve(host, file);
    drop(private);
    release(host, handler, flbs);
    source
}

fn release<H: Lock>(host: &H, handler: Option<HandlerId>, flbs: Held) {
    if let Some(handler) = handler {
        release_flbs(host, handler, flbs);
    }
}

/// Drops the pages that records no longer need.
pub(crate) fn trim_records<H: Lock>(host: &H) {
    while let Some(page) = host.now(|engine| engine.surplus_record_page()) {
        drop(page);
    }
}

/// A file and pages that are not needed any more.
type Removed<H> = (
    Option<File<H>>,
    Option<<H as Host>::Block>,
    Option<<H as Host>::Block>,
);

/// A preserved file, its handler, and the handler's handle.
pub(crate) type Taken<H> = (Live<H>, Option<HandlerId>, u64);

impl<H: Host> Engine<H> {
    /// Gives a file its stage. The stage it had, or this one if the file is gone, comes
    /// back to be dropped without the lock.
    pub(crate) fn replace_stage(&mut self, id: FileId, mut stage: Stage<H>) -> Stage<H> {
        self.swap_stage(id, &mut stage);
        stage
    }

    /// [`Self::replace_stage`] in place: stages are large.
    fn swap_stage(&mut self, id: FileId, stage: &mut Stage<H>) {
        if let Some(file) = self.files.get_mut(id).and_then(File::as_outgoing_mut) {
            core::mem::swap(&mut file.stage, stage);
        }
    }

    /// Gives a file what it consists of; from here on it is there. What it consisted of
    /// before is in its place as of [`Self::replace_stage`].
    fn fill(&mut self, id: FileId, stage: &mut Stage<H>, data: u64) {
        let round = self.update.round();
        if let Some(file) = self.files.get_mut(id) {
            file.data = data;
            if let Some(outgoing) = file.as_outgoing_mut() {
                outgoing.made = outgoing.made.or(Some(round));
            }
        }
        self.swap_stage(id, stage);
    }

    /// Takes a token, or `None` if a page is wanted first.
    pub(crate) fn reserve_file(
        &mut self,
        session: SessionId,
        token: u64,
        spares: &mut Spares<H::Block>,
    ) -> Result<Option<FileId>, Error> {
        let hash = self.token_hash(session, token);
        if self.find_file_hashed(hash, session, token).is_some() {
            return Err(Error::TokenExists);
        }
        self.reserve_free(session, token, hash, spares)
    }

    /// [`Self::reserve_file`] for a token that is known to be free, with the hash of it and its
    /// session.
    fn reserve_free(
        &mut self,
        session: SessionId,
        token: u64,
        hash: u32,
        spares: &mut Spares<H::Block>,
    ) -> Result<Option<FileId>, Error> {
        match self.make_room_for_file(session, spares)? {
            Room::WantsBlock => Ok(None),
            Room::Ready => {
                let added = self.add_file_hashed(File::outgoing(session, token), hash);
                match added {
                    Ok(id) => {
                        self.mark_busy(session);
                        Ok(Some(id))
                    }
                    Err(why) => {
                        // The pages it would have needed go back to the caller, who
                        // drops them.
                        if let Some(page) = self.surplus_file_page(session) {
                            spares.add(page);
                        }
                        if let Some(page) = self.surplus_record_page() {
                            spares.add(page);
                        }
                        Err(why)
                    }
                }
            }
        }
    }

    fn make_room_for_file(
        &mut self,
        session: SessionId,
        spares: &mut Spares<H::Block>,
    ) -> Result<Room, Error> {
        let entry = self.sessions.get_mut(session).ok_or(Error::NoSession)?;
        let files = entry.files.len.saturating_add(1);
        let entry = entry.outgoing_mut().ok_or(Error::WrongDirection)?;
        let wants_file = entry.chain.wants(files)?;
        let wants_record = self.record_chain.wants(self.records.saturating_add(1))?;
        let wanted = usize::from(wants_file).saturating_add(usize::from(wants_record));
        if wanted > spares.len() {
            return Ok(Room::WantsBlock);
        }
        entry.chain.give(spares.take_if(wants_file));
        self.record_chain.give(spares.take_if(wants_record));
        Ok(Room::Ready)
    }

    /// Gives a reserved file its handler and its object.
    fn assign(
        &mut self,
        id: FileId,
        handler: HandlerId,
        object: u64,
        bytes: u64,
        access: Access,
    ) -> Result<(), Error> {
        let session = self.files.get(id).map(|file| file.session);
        let session = session.ok_or(Error::Inconsistent)?;
        self.may_hold(session, Quota::Bytes, bytes)?;
        // Before anything changes: it is tried again if there is no memory.
        self.objects.reserve_at(self.files.last_beside(id.slot))?;
        // It may have been unregistered since it was found.
        let entry = self.handlers.get_mut(handler);
        let entry = entry.filter(|entry| entry.is_registered());
        let entry = entry.ok_or(Error::NoHandler)?;
        entry.files = entry.files.saturating_add(1);
        match self.files.get_mut(id) {
            Some(file) => {
                file.handler = Some(handler);
                file.access = access;
            }
            None => return Err(Error::Inconsistent),
        }
        self.set_bytes(id, bytes);
        // On failure the file is removed, and its handler released with it.
        self.index_object(id, object)
    }

    /// Takes what is preserved of a file out, so that callbacks can have it
    /// without the lock.
    pub(crate) fn take_live(&mut self, id: FileId) -> Option<Taken<H>> {
        let file = self.files.get_mut(id)?;
        let (handler, data) = (file.handler, file.data);
        match &mut file.as_outgoing_mut()?.stage {
            Stage::Preserved(live) => Some((live.take()?, handler, data)),
            _ => None,
        }
    }

    /// Takes what a registered file consists of out.
    pub(crate) fn take_source(&mut self, id: FileId) -> Option<Source<H>> {
        match &mut self.files.get_mut(id)?.as_outgoing_mut()?.stage {
            Stage::Registered(source) => source.take(),
            _ => None,
        }
    }

    /// Takes an outgoing file out, and the pages its records do not need any
    /// more; all for the caller to drop.
    pub(crate) fn remove_outgoing_file(&mut self, session: SessionId, id: FileId) -> Removed<H> {
        let file = self.remove_file(id);
        let page = self.surplus_file_page(session);
        (file, page, self.surplus_record_page())
    }

    /// A page that the records of a session's files no longer need; for the caller to
    /// drop.
    fn surplus_file_page(&mut self, session: SessionId) -> Option<H::Block> {
        let session = self.sessions.get_mut(session)?;
        let files = session.files.len;
        session.outgoing_mut()?.chain.surplus(files)
    }
}
