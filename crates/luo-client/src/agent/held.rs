// SPDX-License-Identifier: MIT OR Apache-2.0
//! The copies of sessions and files that a workload keeps, so that it can give them to an
//! agent that was restarted.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use luo_sys::{Session, SessionName, Token};

/// The sessions of a workload, by name: a copy of each, and of each file that was
/// declared for it.
#[derive(Debug, Default)]
pub(super) struct Held {
    sessions: BTreeMap<SessionName, Copies>,
}

#[derive(Debug)]
struct Copies {
    session: OwnedFd,
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

impl Held {
    /// Keeps a copy of a session.
    pub(super) fn keep(&mut self, name: &SessionName, session: &Session) -> io::Result<()> {
        let session = session.as_fd().try_clone_to_owned()?;
        let before = self.sessions.remove(name);
        let declared = before.map(|before| before.declared).unwrap_or_default();
        self.sessions.insert(*name, Copies { session, declared });
        Ok(())
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
    }

    /// Copies of all sessions and files, for the agent, in the order in which it needs
    /// them.
    pub(super) fn gifts(&self) -> io::Result<Vec<Gift>> {
        let mut gifts = Vec::new();
        for (name, copies) in &self.sessions {
            gifts.push(Gift::Session(*name, copies.session.try_clone()?));
            for (token, file) in &copies.declared {
                gifts.push(Gift::File(*name, *token, file.try_clone()?));
            }
        }
        Ok(gifts)
    }
}
