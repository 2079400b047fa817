// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! How much each user has, and whether it may be more.

use crate::account::{Account, Opener, Used};
use crate::engine::Engine;
use crate::error::Error;
use crate::graph::Target;
use crate::host::Host;
use crate::id::{AccountId, FileId, SessionId};
use crate::owner::{Actor, Owner};
use crate::quota::{Quota, Quotas, Whom, MOST_RECORDS_OF_USERS, MOST_SESSIONS_OF_USERS};
use crate::session::{Direction, Session};

impl<H: Host> Engine<H> {
    /// How much users may have.
    #[must_use]
    pub const fn quotas(&self, whom: Whom) -> Quotas {
        match whom {
            Whom::Each => self.quotas,
            Whom::Together => self.users_quotas,
        }
    }

    /// Decides how much users may have.
    pub fn set_quotas(&mut self, whom: Whom, quotas: Quotas) {
        match whom {
            Whom::Each => self.quotas = quotas,
            Whom::Together => {
                self.users_quotas = quotas;
                self.users_told = [false; Quota::ALL.len()];
            }
        }
    }

    /// Whether it has still to be told that users together have as much as they may: once,
    /// until the administrator decides anew.
    pub fn tells_of_users(&mut self, quota: Quota) -> bool {
        let told = self.users_told.get_mut(quota as usize);
        told.is_some_and(|told| !core::mem::replace(told, true))
    }

    /// Whether a session is a user's who has no privileges.
    pub(crate) fn is_of_user(&self, id: SessionId) -> bool {
        let session = self.sessions.get(id);
        session.is_some_and(|session| session.owner.user().is_some())
    }

    /// [`Self::is_of_user`] of a file's session.
    pub(crate) fn is_users(&self, id: FileId) -> bool {
        let file = self.files.get(id);
        file.is_some_and(|file| self.is_of_user(file.session))
    }

    fn user_hash(&self, user: u32) -> u32 {
        self.hash.of_words(&[user.into()])
    }

    /// The account of a user who has anything.
    pub(crate) fn find_account(&self, user: u32) -> Option<AccountId> {
        let slot = self.users.find(self.user_hash(user), |slot| {
            let account = self.accounts.at_slot(slot);
            account.is_some_and(|(_, account)| account.user == user)
        })?;
        self.accounts.at_slot(slot).map(|(id, _)| id)
    }

    /// The account of a user, made if there is none.
    fn make_account(&mut self, user: u32) -> Result<AccountId, Error> {
        if let Some(id) = self.find_account(user) {
            return Ok(id);
        }
        self.accounts.reserve(1)?;
        self.users.reserve_at(self.accounts.last_with_next())?;
        let id = self.accounts.insert(Account::new(user))?;
        self.users.insert(self.user_hash(user), id.slot)?;
        Ok(id)
    }

    /// Forgets a user who has nothing any more.
    fn trim_account(&mut self, id: AccountId) {
        if !self.accounts.get(id).is_some_and(Account::is_empty) {
            return;
        }
        self.users.remove(id.slot);
        self.accounts.remove(id);
        if let Some(segment) = self.accounts.take_gone() {
            self.users.give_back(segment);
        }
    }

    /// Finds or makes the account for a session that is to be added.
    pub(crate) fn account_for(&mut self, owner: Owner) -> Result<Option<AccountId>, Error> {
        let user = owner.user();
        user.map(|user| self.make_account(user)).transpose()
    }

    /// Puts a new session among those of its user, or among those that arrived on the
    /// device.
    pub(crate) fn enlist(&mut self, id: SessionId, direction: Direction) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        if session.arrived_on_device() {
            self.of_device.push_back(&mut self.sessions, id);
            return;
        }
        let account = session.account;
        let Some(account) = account.and_then(|id| self.accounts.get_mut(id)) else {
            return;
        };
        let list = account.list_mut(direction);
        list.push_back(&mut self.sessions, id);
        self.charge(id, |used| used.sessions = used.sessions.saturating_add(1));
    }

    /// Takes a session that goes from among those of its user, or of the device's.
    pub(crate) fn delist(&mut self, id: SessionId, direction: Direction) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        if session.arrived_on_device() && !session.is_finished() {
            self.of_device.unlink(&mut self.sessions, id);
            return;
        }
        let of = session.account;
        self.charge(id, |used| used.sessions = used.sessions.saturating_sub(1));
        if let Some((of, account)) = of.and_then(|of| Some((of, self.accounts.get_mut(of)?))) {
            let list = account.list_mut(direction);
            list.unlink(&mut self.sessions, id);
            self.trim_account(of);
        }
    }

    /// Puts a session among those that were closed without being finished.
    pub(crate) fn enlist_closed(&mut self, id: SessionId) {
        let of = self.sessions.get(id).and_then(|session| session.account);
        self.closed.push_back(&mut self.sessions, id);
        let own = match of.and_then(|of| self.accounts.get_mut(of)) {
            Some(account) => &mut account.closed,
            None => &mut self.closed_of_no_user,
        };
        own.push_back(&mut self.sessions, id);
    }

    /// Takes a session that goes from among those, if it was closed.
    pub(crate) fn delist_closed(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(id).filter(|of| of.was_closed()) else {
            return;
        };
        let of = session.account;
        self.closed.unlink(&mut self.sessions, id);
        let own = match of.and_then(|of| self.accounts.get_mut(of)) {
            Some(account) => &mut account.closed,
            None => &mut self.closed_of_no_user,
        };
        own.unlink(&mut self.sessions, id);
    }

    /// Notes that a new session carries on another: only that other one counts.
    pub(crate) fn note_carrier(&mut self, id: SessionId, carries: SessionId) {
        self.charge(id, |used| used.sessions = used.sessions.saturating_sub(1));
        let session = self.sessions.get_mut(id);
        if let Some(outgoing) = session.and_then(Session::outgoing_mut) {
            outgoing.carries = Some(carries);
        }
    }

    /// Changes what the user of a session has, and with it what all users have. What is in
    /// a session that carries on another counts there already.
    pub(crate) fn charge(&mut self, session: SessionId, change: impl Fn(&mut Used)) {
        let session = self.sessions.get(session);
        let session = session.filter(|session| session.carries().is_none());
        let account = session.and_then(|session| session.account);
        if let Some(account) = account.and_then(|id| self.accounts.get_mut(id)) {
            change(&mut account.used);
            change(&mut self.users_used);
        }
    }

    /// Whether an owner may have so much more of something.
    ///
    /// # Errors
    /// [`Error::OverQuota`], [`Error::UsersOverQuota`].
    pub(crate) fn may_have(&self, owner: Owner, quota: Quota, more: u64) -> Result<(), Error> {
        // Nothing more is always allowed, whatever the quota has become.
        let (Some(user), 1..) = (owner.user(), more) else {
            return Ok(());
        };
        let own = self.account_of(user);
        let own = own.map_or(0, |account| account.used.get(quota));
        if own.saturating_add(more) > self.quotas.get(quota) {
            return Err(Error::OverQuota(quota));
        }
        let all = &self.users_used;
        let is_over = |used: u64, most: u64| used.saturating_add(more) > most;
        let over_most = match quota {
            Quota::Bytes => false,
            Quota::Sessions => {
                is_over(all.sessions, MOST_SESSIONS_OF_USERS)
                    || is_over(all.records(), MOST_RECORDS_OF_USERS)
            }
            Quota::Files | Quota::Dependencies => is_over(all.records(), MOST_RECORDS_OF_USERS),
        };
        if over_most || is_over(all.get(quota), self.users_quotas.get(quota)) {
            return Err(Error::UsersOverQuota(quota));
        }
        Ok(())
    }

    /// [`Self::may_have`] for the owner of a session.
    pub(crate) fn may_hold(
        &self,
        session: SessionId,
        quota: Quota,
        more: u64,
    ) -> Result<(), Error> {
        let owner = self.sessions.get(session).map(|session| session.owner);
        self.may_have(owner.unwrap_or(Owner::Root), quota, more)
    }

    /// The account of a user, if there is one.
    fn account_of(&self, user: u32) -> Option<&Account> {
        self.find_account(user).and_then(|id| self.accounts.get(id))
    }

    /// The first session of a direction that a caller is shown.
    pub(crate) fn first_for(&self, by: Actor, direction: Direction) -> Option<SessionId> {
        match by {
            Actor::Administrator => self.list(direction).first,
            Actor::User(user) => self.account_of(user)?.list(direction).first,
        }
    }

    /// The session behind one that a caller is shown, among those that are.
    pub(crate) const fn behind(by: Actor, session: &Session<H>) -> Option<SessionId> {
        match by {
            Actor::Administrator => session.links.next,
            Actor::User(_) => session.own.next,
        }
    }

    /// How many sessions of a direction a caller is shown. Of a finished one only the
    /// descriptor is left.
    pub(crate) fn count_for(&self, by: Actor, direction: Direction) -> u64 {
        let count = match (by, direction) {
            (Actor::Administrator, Direction::Outgoing) => self.outgoing.len,
            (Actor::Administrator, Direction::Incoming) => self.incoming.len,
            (Actor::User(user), Direction::Outgoing) => self
                .account_of(user)
                .map_or(0, |account| account.list(Direction::Outgoing).len),
            (Actor::User(user), Direction::Incoming) => self
                .account_of(user)
                .map_or(0, |account| account.unfinished),
        };
        count as u64
    }

    /// How many incoming sessions that a caller is shown nobody has claimed or closed.
    pub(crate) fn unclaimed_for(&self, by: Actor) -> u64 {
        let count = match by {
            Actor::Administrator => self.unclaimed,
            Actor::User(user) => self.account_of(user).map_or(0, |account| account.unclaimed),
        };
        count as u64
    }

    /// The first of an owner's closed sessions, of a user's or of those that are no user's.
    pub(crate) fn first_closed_of(&self, user: Option<u32>) -> Option<SessionId> {
        match user {
            Some(user) => self.account_of(user)?.closed.first,
            None => self.closed_of_no_user.first,
        }
    }

    /// How many files a caller has, or the machine.
    pub(crate) fn files_for(&self, by: Actor) -> u64 {
        match by {
            Actor::Administrator => self.files.len() as u64,
            Actor::User(user) => self
                .account_of(user)
                .map_or(0, |account| account.used.files),
        }
    }

    /// Lets a program have the device open. Of those with privileges there is one at a
    /// time, and one of each user.
    ///
    /// # Errors
    /// [`Error::DeviceBusy`], [`Error::NoMemory`].
    pub fn enter_device(&mut self, actor: Actor) -> Result<Opener, Error> {
        let opened = match actor {
            Actor::Administrator => &mut self.opened,
            Actor::User(user) => {
                let id = self.make_account(user)?;
                &mut self.accounts.get_mut(id).ok_or(Error::Inconsistent)?.opened
            }
        };
        if core::mem::replace(opened, true) {
            return Err(Error::DeviceBusy);
        }
        Ok(Opener(actor))
    }

    /// That program does not have it open any more.
    pub fn leave_device(&mut self, Opener(actor): Opener) {
        match actor {
            Actor::Administrator => self.opened = false,
            Actor::User(user) => {
                if let Some(id) = self.find_account(user) {
                    if let Some(account) = self.accounts.get_mut(id) {
                        account.opened = false;
                    }
                    self.trim_account(id);
                }
            }
        }
    }

    /// Notes for the owners of what a file needs in other sessions that trying their closed
    /// sessions again can come to something, because the file goes.
    pub(crate) fn want_retries_of_needed(&mut self, by: FileId) {
        let session = self.files.get(by).map(|file| file.session);
        for (_, target) in self.graph.dependencies(by) {
            let Target::File(on) = target else { continue };
            let of = self.files.get(on).map(|file| file.session);
            if of != session {
                let owner = of.and_then(|of| self.sessions.get(of)?.account);
                self.retries.want(&mut self.accounts, owner);
            }
        }
    }
}
