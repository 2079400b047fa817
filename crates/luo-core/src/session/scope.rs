// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The users whose closed sessions a call tries to finish.
//!
//! To finish a session runs handlers, which may take long. So a call on a session, or of a
//! user's, tries those of the same owner only: nobody works for another. Those that waited
//! for another owner's are tried when their own owner calls, or who administers the machine.

use crate::account::Retries;
use crate::engine::Engine;
use crate::host::Host;
use crate::id::SessionId;
use crate::owner::{Actor, Owner};
use crate::session::Session;

/// The owners whose incoming sessions are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everybody's.
    All,
    /// A user's.
    User(u32),
    /// Those that are no user's.
    NoUsers,
}

impl Scope {
    /// The sessions that somebody may see.
    pub(crate) const fn of_actor(by: Actor) -> Self {
        match by {
            Actor::Administrator => Self::All,
            Actor::User(user) => Self::User(user),
        }
    }

    /// The sessions of a session's owner.
    pub(crate) const fn of_owner(owner: Owner) -> Self {
        match owner.user() {
            Some(user) => Self::User(user),
            None => Self::NoUsers,
        }
    }
}

impl<H: Host> Engine<H> {
    /// The first session of a scope behind `after` that was closed without being finished, and for
    /// which `is_such` holds. One that is gone has no successor: the next call that looks sees the
    /// rest.
    pub(crate) fn next_closed(
        &self,
        scope: Scope,
        after: Option<SessionId>,
        is_such: impl Fn(&Session<H>) -> bool,
    ) -> Option<SessionId> {
        let behind = |session: &Session<H>| match scope {
            Scope::All => session.closed.next,
            Scope::User(_) | Scope::NoUsers => session.own_closed.next,
        };
        let mut next = match (after, scope) {
            (Some(after), _) => behind(self.sessions.get(after)?),
            (None, Scope::All) => self.closed.first,
            (None, Scope::User(user)) => self.first_closed_of(Some(user)),
            (None, Scope::NoUsers) => self.first_closed_of(None),
        };
        while let Some((id, session)) = next.and_then(|id| Some((id, self.sessions.get(id)?))) {
            if is_such(session) {
                return Some(id);
            }
            next = behind(session);
        }
        None
    }

    /// The scope of a session's owner.
    pub(crate) fn scope_of(&self, id: SessionId) -> Scope {
        let session = self.sessions.get(id);
        Scope::of_owner(session.map_or(Owner::Root, |session| session.owner))
    }

    /// Notes that it is worth trying again to finish the closed sessions of a session's
    /// owner.
    pub(crate) fn want_retry(&mut self, of: SessionId) {
        let owner = self.sessions.get(of).map(|session| session.account);
        self.retries.want(&mut self.accounts, owner.flatten());
    }

    /// Whether trying the sessions of `scope` again can come to something.
    pub(crate) fn is_retry_wanted(&self, scope: Scope) -> bool {
        match scope {
            _ if !self.retries.of_any => false,
            Scope::All => true,
            Scope::NoUsers => self.retries.of_no_user,
            Scope::User(user) => {
                let account = self.find_account(user).and_then(|id| self.accounts.get(id));
                account.is_some_and(|account| account.retry_wanted)
            }
        }
    }

    /// The sessions of `scope` are being tried now. Trying them once more can come to nothing
    /// until another file goes.
    pub(crate) fn begin_retry(&mut self, scope: Scope) {
        match scope {
            // A user with a note of its own tries once too often then, at worst.
            Scope::All => self.retries = Retries::NONE,
            Scope::NoUsers => self.retries.of_no_user = false,
            Scope::User(user) => {
                let id = self.find_account(user);
                if let Some(account) = id.and_then(|id| self.accounts.get_mut(id)) {
                    account.retry_wanted = false;
                }
            }
        }
    }
}
