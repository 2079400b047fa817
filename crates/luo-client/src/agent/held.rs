// SPDX-License-Identifier: MIT OR Apache-2.0
//! The copies of sessions and files that a workload keeps, so that it can give them to an
//! agent that was restarted.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use luo_sys::{Session, SessionName, Token};
use luo_varlink::client::Registered;

/// The sessions of a workload, by name: a copy of each, and of each file that was
/// declared for it.
#[derive(Debug, Default)]
pub(super) struct Held {
    sessions: BTreeMap<SessionName, Copies>,
    /// Sessions of the previous kernel that an agent has finished before it was lost, and
    /// whose end nobody has been told of.
    ended: BTreeSet<SessionName>,
}

#[derive(Debug)]
struct Copies {
    session: OwnedFd,
    incoming: bool,
    declared: BTreeMap<Token, OwnedFd>,
}

/// A copy that the agent is to be given.
#[derive(Debug)]
pub(super) enum Gift {
    /// A session.
    Session(SessionName, OwnedFd),
    /// A file that is going to be preserved in it.
    File(SessionName, Token, OwnedFd),
}

/// Whether an agent has listed a session when this workload registered.
pub(super) fn knows(registered: &Registered, name: &SessionName) -> bool {
    let mut names = registered.claimable.iter();
    names.any(|known| known.as_bytes() == name.as_bytes())
}

impl Held {
    /// Keeps a copy of a session; `incoming` says whether the previous kernel has left it.
    pub(super) fn keep(
        &mut self,
        name: &SessionName,
        session: &Session,
        incoming: bool,
    ) -> io::Result<()> {
        let session = session.as_fd().try_clone_to_owned()?;
        let before = self.sessions.remove(name);
        let declared = before.map(|before| before.declared).unwrap_or_default();
        let copies = Copies {
            session,
            incoming,
            declared,
        };
        self.sessions.insert(*name, copies);
        self.ended.remove(name);
        Ok(())
    }

    /// Whether a session is kept here.
    pub(super) fn has(&self, name: &SessionName) -> bool {
        self.sessions.contains_key(name)
    }

    /// Closes the copies of sessions of the previous kernel that an agent does not have any
    /// more: an earlier one has finished them. `known` says which it has.
    pub(super) fn end(&mut self, known: impl Fn(&SessionName) -> bool) {
        let ended = self.sessions.iter();
        let ended = ended.filter(|(name, copies)| copies.incoming && !known(name));
        let ended: Vec<_> = ended.map(|(name, _)| *name).collect();
        for name in ended {
            self.sessions.remove(&name);
            self.ended.insert(name);
        }
    }

    /// Whether a session was found to be finished; it is said once.
    pub(super) fn has_ended(&mut self, name: &SessionName) -> bool {
        self.ended.remove(name)
    }

    /// Keeps a copy of a file that was declared for a session. If the session is not kept
    /// here, neither is the file.
    pub(super) fn declare(&mut self, name: &SessionName, token: Token, file: OwnedFd) {
        if let Some(copies) = self.sessions.get_mut(name) {
            copies.declared.insert(token, file);
        }
    }

    /// Closes the copies of a session and of its files.
    pub(super) fn forget(&mut self, name: &SessionName) {
        self.sessions.remove(name);
    }

    /// Closes all copies.
    pub(super) fn clear(&mut self) {
        self.sessions.clear();
        self.ended.clear();
    }

    /// Copies of all sessions and files for an agent, in the order in which it needs them;
    /// of sessions of the previous kernel those that it knows.
    pub(super) fn gifts(&self, known: impl Fn(&SessionName) -> bool) -> io::Result<Vec<Gift>> {
        let mut gifts = Vec::new();
        let wanted = self.sessions.iter();
        let wanted = wanted.filter(|(name, copies)| !copies.incoming || known(name));
        for (name, copies) in wanted {
            gifts.push(Gift::Session(*name, copies.session.try_clone()?));
            for (token, file) in &copies.declared {
                gifts.push(Gift::File(*name, *token, file.try_clone()?));
            }
        }
        Ok(gifts)
    }
}
