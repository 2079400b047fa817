// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The accounts of users: how much of the machine each user has.
//!
//! A user without privileges who may open the device gets sessions, files in them,
//! dependencies among those and bytes of memory that the files keep, up to
//! [`Quotas`](crate::Quotas). A session of the previous kernel counts until it is finished; the
//! copy that carries it on to the next kernel does not count once more. A quota says how much
//! may be added: nothing that is there already is taken away.
//!
//! A user is a number of the first user namespace. A person with several numbers, by /etc/subuid
//! and user namespaces, has an account for each; the sum of all accounts is bounded as well.

use crate::host::Host;
use crate::id::{of, AccountId};
use crate::owner::Actor;
use crate::quota::Quota;
use crate::session::{Direction, Session};
use crate::table::list::{Linked, Links, List};
use crate::table::slab::Slab;

/// The role of a session in the list of its user's, or of those that arrived on the device.
pub(crate) enum Own {}

impl<H: Host> Linked<of::Session, Own> for Session<H> {
    fn links(&mut self) -> &mut Links<of::Session> {
        &mut self.own
    }
}

/// The role of a session among all that were closed without being finished.
pub(crate) enum Closed {}

/// Its role among those of them that are its user's, or no user's.
pub(crate) enum OwnClosed {}

impl<H: Host> Linked<of::Session, Closed> for Session<H> {
    fn links(&mut self) -> &mut Links<of::Session> {
        &mut self.closed
    }
}

impl<H: Host> Linked<of::Session, OwnClosed> for Session<H> {
    fn links(&mut self) -> &mut Links<of::Session> {
        &mut self.own_closed
    }
}

/// How much somebody has of what there are quotas for.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    /// Sessions, without those that carry others on.
    pub(crate) sessions: u64,
    pub(crate) files: u64,
    pub(crate) dependencies: u64,
    pub(crate) bytes: u64,
}

impl Used {
    pub(crate) const NOTHING: Self = Self {
        sessions: 0,
        files: 0,
        dependencies: 0,
        bytes: 0,
    };

    pub(crate) const fn get(&self, quota: Quota) -> u64 {
        match quota {
            Quota::Sessions => self.sessions,
            Quota::Files => self.files,
            Quota::Dependencies => self.dependencies,
            Quota::Bytes => self.bytes,
        }
    }

    /// Records in the handover, as soon as all of it goes there.
    pub(crate) const fn records(&self) -> u64 {
        let sessions_and_files = self.sessions.saturating_add(self.files);
        sessions_and_files.saturating_add(self.dependencies)
    }
}

/// The account of a user.
pub(crate) struct Account {
    pub(crate) user: u32,
    /// The user has the device open.
    pub(crate) opened: bool,
    outgoing: List<of::Session, Own>,
    incoming: List<of::Session, Own>,
    /// Of the incoming ones those that were closed without being finished.
    pub(crate) closed: List<of::Session, OwnClosed>,
    /// How many of the incoming ones are not finished, and how many nobody has claimed or closed.
    pub(crate) unfinished: usize,
    pub(crate) unclaimed: usize,
    pub(crate) used: Used,
    /// A file that a closed session of the user's waited for is gone.
    pub(crate) retry_wanted: bool,
}

impl Account {
    pub(crate) const fn new(user: u32) -> Self {
        Self {
            user,
            opened: false,
            outgoing: List::new(),
            incoming: List::new(),
            closed: List::new(),
            unfinished: 0,
            unclaimed: 0,
            used: Used::NOTHING,
            retry_wanted: false,
        }
    }

    pub(crate) const fn list(&self, direction: Direction) -> &List<of::Session, Own> {
        match direction {
            Direction::Outgoing => &self.outgoing,
            Direction::Incoming => &self.incoming,
        }
    }

    pub(crate) fn list_mut(&mut self, direction: Direction) -> &mut List<of::Session, Own> {
        match direction {
            Direction::Outgoing => &mut self.outgoing,
            Direction::Incoming => &mut self.incoming,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.opened && self.outgoing.len == 0 && self.incoming.len == 0
    }
}

/// A program that has the device open, as far as others must not have it then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opener(pub(crate) Actor);

/// The users and administrators whose closed sessions waited for a file that is gone. Each user's
/// account says the same for that user.
#[derive(Clone, Copy)]
pub(crate) struct Retries {
    /// Anybody's.
    pub(crate) of_any: bool,
    /// Some that are no user's.
    pub(crate) of_no_user: bool,
}

impl Retries {
    pub(crate) const NONE: Self = Self {
        of_any: false,
        of_no_user: false,
    };

    /// It is worth trying those of an account, or of nobody's, again.
    pub(crate) fn want(
        &mut self,
        accounts: &mut Slab<of::Account, Account>,
        of: Option<AccountId>,
    ) {
        self.of_any = true;
        match of {
            None => self.of_no_user = true,
            Some(of) => {
                if let Some(account) = accounts.get_mut(of) {
                    account.retry_wanted = true;
                }
            }
        }
    }
}
