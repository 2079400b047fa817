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
use crate::mem::Vec;
use crate::participant::flb::Outgoing;
use crate::participant::handler::{Flb, Handler, PinnedHandler, MAX_HANDLERS};
use crate::text::Compat;
use crate::user_kinds::UserKinds;

impl<H: Host> Engine<H> {
    /// Registers a file handler. See `liveupdate_register_file_handler`.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::Full`] at 256 handlers,
    /// [`Error::NoMemory`].
    pub fn register_handler(&mut self, name: Compat, table: H::Handler) -> Result<(), Error> {
        let registered = || self.handlers.iter().filter(|(_, h)| h.registered);
        if registered().any(|(_, h)| h.name == name || h.table == table) {
            return Err(Error::NameTaken);
        }
        if registered().count() >= MAX_HANDLERS {
            return Err(Error::Full);
        }
        self.handlers.insert(Handler {
            name,
            table,
            flbs: Vec::new(),
            files: 0,
            registered: true,
        })?;
        self.registrations = self.registrations.wrapping_add(1);
        Ok(())
    }

    /// Unregisters a file handler. Files that it has preserved keep it.
    ///
    /// # Errors
    /// [`Error::NotRegistered`].
    pub fn unregister_handler(&mut self, table: &H::Handler) -> Result<(), Error> {
        let id = self.find_handler(table).ok_or(Error::NotRegistered)?;
        // Its FLBs may go before its last file does. What outgoing files hold of
        // them stays held.
        let mut flbs = Vec::new();
        if let Some(handler) = self.handlers.get_mut(id) {
            handler.registered = false;
            core::mem::swap(&mut flbs, &mut handler.flbs);
        }
        for flb in flbs {
            self.release_flb_user(flb);
        }
        self.drop_handler_if_unused(id);
        Ok(())
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
            .find(|(_, handler)| handler.registered && handler.table == *table)
            .map(|(id, _)| id)
    }

    /// The registered handler behind `after` that a file may have, in the order of slots; the
    /// first one for `None`. Its table comes with a pin on its owner, taken while the
    /// handler is sure to be registered; without, if the owner is going away.
    pub(crate) fn next_handler(
        &self,
        host: &H,
        of: FileId,
        after: Option<HandlerId>,
    ) -> Option<(HandlerId, Option<PinnedHandler<H>>)> {
        let kinds = match self.is_users(of) {
            true => host.user_kinds(),
            false => UserKinds::All,
        };
        let (id, handler) = self.handlers.iter().find(|(id, handler)| {
            let is_behind = after.is_none_or(|after| id.slot > after.slot);
            handler.registered && is_behind && kinds.admit(&handler.name)
        })?;
        let pin = handler.table.pin(host);
        Some((id, pin.map(|pin| (handler.table.clone(), pin))))
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
