// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What each user has of the machine, and how much a user may have.
//!
//! A user without privileges who may open the device gets sessions, files in them,
//! dependencies among those and bytes of memory that the files keep, up to [`Quotas`]. What
//! came from the previous kernel counts until it is finished; a copy that carries it on to
//! the next does not count once more. What is there already is never taken away: a quota
//! says what may be added.

use core::fmt;

use crate::engine::Engine;
use crate::error::Error;
use crate::host::Host;
use crate::id::{kind, AccountId, SessionId};
use crate::owner::{Actor, Owner};
use crate::session::{Direction, Session};
use crate::table::list::{Linked, Links, List};

/// How much each user without privileges may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Sessions.
    pub sessions: u64,
    /// Files in all of them.
    pub files: u64,
    /// Dependencies of those files.
    pub dependencies: u64,
    /// Bytes of memory that the files keep.
    pub bytes: u64,
}

/// One of the numbers of [`Quotas`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// [`Quotas::sessions`].
    Sessions,
    /// [`Quotas::files`].
    Files,
    /// [`Quotas::dependencies`].
    Dependencies,
    /// [`Quotas::bytes`].
    Bytes,
}

impl Quota {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sessions, Self::Files, Self::Dependencies, Self::Bytes];

    /// Its word in the boot parameter. Its file in `/sys/kernel/liveupdate` is named
    /// `user_` and this.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Files => "files",
            Self::Dependencies => "dependencies",
            Self::Bytes => "bytes",
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Quotas {
    /// Sessions that a user may have if the administrator does not say otherwise.
    pub const SESSIONS: u64 = 64;
    /// The same for files.
    pub const FILES: u64 = 4096;
    /// The same for dependencies.
    pub const DEPENDENCIES: u64 = 16_384;
    /// The same for bytes: 1 GiB.
    pub const BYTES: u64 = 1 << 30;

    /// What users may have if the administrator does not say otherwise.
    pub const DEFAULT: Self = Self {
        sessions: Self::SESSIONS,
        files: Self::FILES,
        dependencies: Self::DEPENDENCIES,
        bytes: Self::BYTES,
    };

    /// One of the numbers.
    #[must_use]
    pub const fn get(&self, quota: Quota) -> u64 {
        match quota {
            Quota::Sessions => self.sessions,
            Quota::Files => self.files,
            Quota::Dependencies => self.dependencies,
            Quota::Bytes => self.bytes,
        }
    }

    /// Changes one of the numbers.
    pub const fn set(&mut self, quota: Quota, value: u64) {
        match quota {
            Quota::Sessions => self.sessions = value,
            Quota::Files => self.files = value,
            Quota::Dependencies => self.dependencies = value,
            Quota::Bytes => self.bytes = value,
        }
    }

    /// Reads a number as it is written to a file in sysfs: digits, and perhaps the end of
    /// the line.
    #[must_use]
    pub fn number(text: &[u8]) -> Option<u64> {
        let digits = text.strip_suffix(b"\n").unwrap_or(text);
        if digits.is_empty() {
            return None;
        }
        let mut number = 0u64;
        for &digit in digits {
            let digit = digit.checked_sub(b'0').filter(|&digit| digit < 10)?;
            number = number.checked_mul(10)?.checked_add(digit.into())?;
        }
        Some(number)
    }

    /// Reads the boot parameter: words and numbers, as in `sessions=8,bytes=4096`; what is
    /// not named stays as it is.
    #[must_use]
    pub fn parse(mut self, text: &[u8]) -> Option<Self> {
        for part in text.split(|&byte| byte == b',') {
            let at = part.iter().position(|&byte| byte == b'=')?;
            let (word, number) = part.split_at_checked(at)?;
            let number = Self::number(number.strip_prefix(b"=")?)?;
            let mut all = Quota::ALL.iter();
            let quota = all.find(|quota| quota.word().as_bytes() == word)?;
            self.set(*quota, number);
        }
        Some(self)
    }
}

/// The role of a session in the list of its user's.
pub(crate) enum Own {}

impl<H: Host> Linked<kind::Session, Own> for Session<H> {
    fn links(&mut self) -> &mut Links<kind::Session> {
        &mut self.own
    }
}

/// What a user has.
pub(crate) struct Account {
    user: u32,
    /// The user has the device open.
    opened: bool,
    outgoing: List<kind::Session, Own>,
    incoming: List<kind::Session, Own>,
    /// Sessions that carry others on: those count already.
    carriers: usize,
    pub(crate) files: u64,
    pub(crate) dependencies: u64,
    pub(crate) bytes: u64,
}

impl Account {
    const fn new(user: u32) -> Self {
        Self {
            user,
            opened: false,
            outgoing: List::new(),
            incoming: List::new(),
            carriers: 0,
            files: 0,
            dependencies: 0,
            bytes: 0,
        }
    }

    pub(crate) const fn list(&self, direction: Direction) -> &List<kind::Session, Own> {
        match direction {
            Direction::Outgoing => &self.outgoing,
            Direction::Incoming => &self.incoming,
        }
    }

    fn list_mut(&mut self, direction: Direction) -> &mut List<kind::Session, Own> {
        match direction {
            Direction::Outgoing => &mut self.outgoing,
            Direction::Incoming => &mut self.incoming,
        }
    }

    fn is_empty(&self) -> bool {
        !self.opened && self.outgoing.len == 0 && self.incoming.len == 0
    }

    /// How much of a quota is used.
    fn used(&self, quota: Quota) -> u64 {
        match quota {
            Quota::Sessions => {
                let all = self.outgoing.len.saturating_add(self.incoming.len);
                all.saturating_sub(self.carriers) as u64
            }
            Quota::Files => self.files,
            Quota::Dependencies => self.dependencies,
            Quota::Bytes => self.bytes,
        }
    }
}

/// A program that has the device open, as far as others must not have it then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opener(Actor);

impl<H: Host> Engine<H> {
    /// How much each user may have.
    #[must_use]
    pub const fn quotas(&self) -> Quotas {
        self.quotas
    }

    /// Decides how much each user may have.
    pub fn set_quotas(&mut self, quotas: Quotas) {
        self.quotas = quotas;
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
        self.users.reserve(1)?;
        let id = self.accounts.insert(Account::new(user))?;
        self.users.insert(self.user_hash(user), id.slot)?;
        Ok(id)
    }

    /// Forgets a user who has nothing any more.
    fn trim_account(&mut self, id: AccountId) {
        let account = self.accounts.get(id).filter(|account| account.is_empty());
        let Some(user) = account.map(|account| account.user) else {
            return;
        };
        self.users.remove(self.user_hash(user), id.slot);
        self.accounts.remove(id);
    }

    /// Finds or makes the account for a session that is to be added.
    pub(crate) fn account_for(&mut self, owner: Owner) -> Result<Option<AccountId>, Error> {
        let user = owner.user();
        user.map(|user| self.make_account(user)).transpose()
    }

    /// Puts a new session among those of its user.
    pub(crate) fn enlist(&mut self, id: SessionId, direction: Direction) {
        let account = self.sessions.get(id).and_then(|session| session.account);
        let Some(account) = account.and_then(|id| self.accounts.get_mut(id)) else {
            return;
        };
        let list = account.list_mut(direction);
        list.push_back(&mut self.sessions, id);
    }

    /// Takes a session that goes from among those of its user.
    pub(crate) fn delist(&mut self, id: SessionId, direction: Direction) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let (of, carries) = (session.account, session.carries().is_some());
        if let Some((of, account)) = of.and_then(|of| Some((of, self.accounts.get_mut(of)?))) {
            account.carriers = account.carriers.saturating_sub(carries.into());
            let list = account.list_mut(direction);
            list.unlink(&mut self.sessions, id);
            self.trim_account(of);
        }
    }

    /// Notes that a session carries on another: only that other one counts.
    pub(crate) fn note_carrier(&mut self, id: SessionId) {
        let account = self.sessions.get(id).and_then(|session| session.account);
        if let Some(account) = account.and_then(|id| self.accounts.get_mut(id)) {
            account.carriers = account.carriers.saturating_add(1);
        }
    }

    /// The account that what is in a session counts for.
    pub(crate) fn payer(&mut self, session: SessionId) -> Option<&mut Account> {
        let session = self.sessions.get(session)?;
        if session.carries().is_some() {
            return None;
        }
        self.accounts.get_mut(session.account?)
    }

    /// Whether an owner may have so much more of something.
    ///
    /// # Errors
    /// [`Error::OverQuota`].
    pub(crate) fn may_have(&self, owner: Owner, quota: Quota, more: u64) -> Result<(), Error> {
        let Some(user) = owner.user() else {
            return Ok(());
        };
        let used = self
            .account_of(user)
            .map_or(0, |account| account.used(quota));
        // Nothing more is always allowed, whatever the quota has become.
        if more == 0 || used.saturating_add(more) <= self.quotas.get(quota) {
            Ok(())
        } else {
            Err(Error::OverQuota(quota))
        }
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

    /// What a user has, if anything.
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
            (Actor::Administrator, Direction::Incoming) => self.unfinished,
            (Actor::User(user), Direction::Outgoing) => self
                .account_of(user)
                .map_or(0, |account| account.outgoing.len),
            (Actor::User(_), Direction::Incoming) => {
                self.count_incoming(by, |session| !session.is_finished())
            }
        };
        count as u64
    }

    /// How many incoming sessions that a caller is shown are such.
    pub(crate) fn count_incoming(&self, by: Actor, is_such: impl Fn(&Session<H>) -> bool) -> usize {
        let mut next = self.first_for(by, Direction::Incoming);
        let mut count = 0usize;
        while let Some(session) = next.and_then(|id| self.sessions.get(id)) {
            count = count.saturating_add(is_such(session).into());
            next = Self::behind(by, session);
        }
        count
    }

    /// How many files a caller has, or the machine.
    pub(crate) fn files_for(&self, by: Actor) -> u64 {
        match by {
            Actor::Administrator => self.files.len() as u64,
            Actor::User(user) => self.account_of(user).map_or(0, |account| account.files),
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_parameter_names_what_it_changes() {
        let all = Quotas::DEFAULT;
        let few = all.parse(b"sessions=8,bytes=4096").unwrap();
        assert_eq!((few.sessions, few.bytes), (8, 4096));
        assert_eq!((few.files, few.dependencies), (all.files, all.dependencies));
        for odd in [
            "",
            "sessions",
            "sessions=",
            "sessions=x",
            "sessions=1,",
            "vms=1",
            "sessions=-1",
            "sessions=1 ",
            "bytes=18446744073709551616",
        ] {
            assert_eq!(all.parse(odd.as_bytes()), None, "{odd}");
        }
        assert_eq!(Quotas::number(b"12\n"), Some(12));
        assert_eq!(Quotas::number(b"\n"), None);
    }
}
