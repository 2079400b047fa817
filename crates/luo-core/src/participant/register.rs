// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Registering file handlers and FLBs, and letting them go.
//!
//! There are few of them (a handful of file types in a kernel), so they are found by
//! walking.

use luo_abi::handover::MAX_FLBS;

use crate::engine::Engine;
use crate::error::Error;
use crate::host::{FileCallbacks, Host};
use crate::id::{FileId, FlbId, HandlerId};
use crate::lock::Lock;
use crate::mem::Vec;
use crate::owner::Actor;
use crate::participant::flb::Outgoing;
use crate::participant::handler::{Flb, Handler, PinnedHandler, MAX_HANDLERS};
use crate::room::with_room;
use crate::text::Compat;
use crate::user_kinds::UserKinds;

/// Registers a file handler. See `liveupdate_register_file_handler`. Files of the previous
/// kernel that wait for it have it from here on, and its owner stays as long as they do. That is
/// one step, however many there are: each gets the handler when it is asked for.
///
/// # Errors
/// [`Error::NameTaken`], [`Error::Full`] at 256 handlers,
/// [`Error::NoMemory`].
pub fn register_handler<H: Lock>(host: &H, name: Compat, table: &H::Handler) -> Result<(), Error> {
    let waited = with_room(|| host.now(|engine| engine.try_register(host, name, table.clone())))?;
    if waited > 0 {
        host.handler_has_come(&name, waited);
    }
    Ok(())
}

/// Unregisters a file handler. Files that it has preserved or restored keep it; those that have
/// not been asked for yet wait until it is registered again.
///
/// # Errors
/// [`Error::NotRegistered`].
pub fn unregister_handler<H: Lock>(host: &H, table: &H::Handler) -> Result<(), Error> {
    host.now(|engine| engine.try_unregister(table)).map(drop)
}

impl<H: Host> Engine<H> {
    /// Registers a file handler, and gives the number of files that have waited for it.
    fn try_register(&mut self, host: &H, name: Compat, table: H::Handler) -> Result<usize, Error> {
        let registered = || self.handlers.iter().filter(|(_, h)| h.is_registered());
        if registered().any(|(_, h)| h.name == name || h.table.as_ref() == Some(&table)) {
            return Err(Error::NameTaken);
        }
        if registered().count() >= MAX_HANDLERS {
            return Err(Error::Full);
        }
        let is_awaited = |h: &Handler<H>| h.waiting > 0 && h.name == name;
        let awaited = self.handlers.iter().find(|(_, h)| is_awaited(h));
        let Some(id) = awaited.map(|(id, _)| id) else {
            self.handlers.insert(Handler::new(name, Some(table)))?;
            return Ok(0);
        };
        let handler = self.handlers.get_mut(id).ok_or(Error::Inconsistent)?;
        handler.pin = table.pin(host);
        handler.table = Some(table);
        Ok(handler.waiting)
    }

    /// Unregisters a file handler; gives what has kept its owner for files that wait, for the
    /// caller to drop.
    fn try_unregister(&mut self, table: &H::Handler) -> Result<Option<H::Pin>, Error> {
        let id = self.find_handler(table).ok_or(Error::NotRegistered)?;
        // Its FLBs may go before its last file does. What outgoing files hold of
        // them stays held.
        let mut flbs = Vec::new();
        let mut pin = None;
        if let Some(handler) = self.handlers.get_mut(id) {
            handler.table = None;
            pin = handler.pin.take();
            core::mem::swap(&mut flbs, &mut handler.flbs);
        }
        for flb in flbs {
            self.release_flb_user(flb);
        }
        self.drop_handler_if_unused(id);
        Ok(pin)
    }

    /// Makes a handler depend on an FLB. See `liveupdate_register_flb`.
    ///
    /// # Errors
    /// [`Error::NotRegistered`] if the handler is not, [`Error::NameTaken`] if
    /// the handler depends on it already or another FLB has its name,
    /// [`Error::Full`] at 63 FLBs, [`Error::NoMemory`].
    pub fn register_flb(
        &mut self,
        handler: &H::Handler,
        name: Compat,
        table: H::Flb,
    ) -> Result<(), Error> {
        let handler = self.find_handler(handler).ok_or(Error::NotRegistered)?;
        let known = self.flbs.iter().find(|(_, flb)| flb.table == table);
        let known = known.map(|(id, _)| id);
        if known.is_none() {
            if self.flbs.iter().any(|(_, flb)| flb.name == name) {
                return Err(Error::NameTaken);
            }
            if self.flbs.len() >= MAX_FLBS {
                return Err(Error::Full);
            }
        }
        let entry = self.handlers.get_mut(handler).ok_or(Error::Inconsistent)?;
        if known.is_some_and(|id| entry.flbs.contains(&id)) {
            return Err(Error::NameTaken);
        }
        entry.flbs.reserve(1)?;
        let id = match known {
            Some(id) => id,
            None => self.flbs.insert(Flb {
                name,
                table,
                users: 0,
                outgoing: Outgoing::new(),
            })?,
        };
        entry.flbs.push(id)?;
        if let Some(flb) = self.flbs.get_mut(id) {
            flb.users = flb.users.saturating_add(1);
        }
        Ok(())
    }

    /// Undoes [`Self::register_flb`].
    ///
    /// # Errors
    /// [`Error::NotRegistered`] if the handler does not depend on it.
    pub fn unregister_flb(&mut self, handler: &H::Handler, table: &H::Flb) -> Result<(), Error> {
        let handler = self.find_handler(handler).ok_or(Error::NotRegistered)?;
        let id = self
            .flbs
            .iter()
            .find(|(_, flb)| flb.table == *table)
            .map(|(id, _)| id)
            .ok_or(Error::NotRegistered)?;
        let entry = self.handlers.get_mut(handler).ok_or(Error::Inconsistent)?;
        let at = entry
            .flbs
            .iter()
            .position(|&flb| flb == id)
            .ok_or(Error::NotRegistered)?;
        entry.flbs.remove(at);
        self.release_flb_user(id);
        Ok(())
    }

    pub(crate) fn find_handler(&self, table: &H::Handler) -> Option<HandlerId> {
        self.handlers
            .iter()
            .find(|(_, handler)| handler.table.as_ref() == Some(table))
            .map(|(id, _)| id)
    }

    /// The registered handler behind `after` that a file may have if somebody preserves it, in
    /// the order of slots; the first one for `None`. Its table comes with a pin on its owner, taken while the
    /// handler is sure to be registered; without, if the owner is going away.
    pub(crate) fn next_handler(
        &self,
        host: &H,
        by: Actor,
        of: FileId,
        after: Option<HandlerId>,
    ) -> Option<(HandlerId, Option<PinnedHandler<H>>)> {
        let kinds = match by {
            Actor::Administrator if !self.is_users(of) => UserKinds::All,
            _ => host.user_kinds(),
        };
        let (id, table) = self.handlers.iter().find_map(|(id, handler)| {
            let is_behind = after.is_none_or(|after| id.slot > after.slot);
            let table = handler.table.as_ref()?;
            (is_behind && kinds.admit(&handler.name)).then_some((id, table))
        })?;
        let pin = table.pin(host);
        Some((id, pin.map(|pin| (table.clone(), pin))))
    }

    fn release_flb_user(&mut self, id: FlbId) {
        if let Some(flb) = self.flbs.get_mut(id) {
            flb.users = flb.users.saturating_sub(1);
        }
        self.drop_flb_if_unused(id);
    }

    /// An FLB that no handler depends on any more goes once nothing of it is
    /// preserved.
    pub(crate) fn drop_flb_if_unused(&mut self, id: FlbId) {
        let unused = |flb: &Flb<H>| flb.users == 0 && flb.outgoing.is_idle();
        if self.flbs.get(id).is_some_and(unused) {
            self.flbs.remove(id);
        }
    }
}
