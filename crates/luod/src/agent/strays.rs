// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sessions that the descriptor store has kept, and whose note is gone or damaged: luod has
//! them, and does not know whose they are.
//!
//! ```text
//! the store --start--> stray --AttachSession--> its workload's again
//!                        `-----release --force--> gone
//! ```
//!
//! To close a stray would lose its files, so it stays until somebody decides: a workload that has a
//! descriptor of it gives it back, or an administrator releases it. Until then the status tells of
//! it, and no update begins: no workload could be asked to get it ready.

use luo_sys::{Direction, Session};
use luo_varlink::{Custody, SessionInfo, TimelineKind, client};

use super::Agent;
use super::held::Held;
use super::state::{State, Stray};
use super::timeline::Line;
use crate::aside::Aside;
use crate::decide::plan::Obstacle;
use crate::kernel::Opener;

impl State {
    /// The obstacles to an update.
    pub(super) fn stray_obstacles(&self) -> impl Iterator<Item = Obstacle> {
        self.strays.keys().map(|name| Obstacle {
            found: format!(
                "luod has session '{name}', and the note of whose it is is gone or damaged"
            ),
            remedy: format!(
                "a workload that runs gives it back by itself; if there is none, \
                 `luoctl release --force {name}` gives it up, with what is in it"
            ),
        })
    }

    /// For those who list sessions.
    pub(super) fn stray_infos(&self) -> impl Iterator<Item = SessionInfo> {
        self.strays.iter().map(|(name, stray)| SessionInfo {
            name: name.clone(),
            workload: None,
            custody: Custody::Agent,
            incoming: stray.incoming,
            files: None,
            bytes: None,
            identity: None,
            left: None,
        })
    }

    /// A session that a workload has given back is no stray any more: says how to hold it.
    pub(super) fn take_in_stray(&mut self, name: &str) {
        if let (Some(stray), Some(held)) = (self.strays.remove(name), self.sessions.get_mut(name)) {
            *held = Held {
                incoming: stray.incoming,
                claimed: true,
                ..Held::new(&held.workload, None, false)
            };
        }
    }
}

impl Agent {
    /// Keeps a session of the store that nobody is known to own.
    pub(super) fn keep_stray(&self, name: &str, session: Aside<Session>) {
        tracing::error!(
            session = name,
            "the descriptor store has it, and the note of whose it is is gone or damaged: it is \
             kept until its workload gives it back, or `luoctl release --force`"
        );
        let stray = Stray {
            session,
            incoming: false,
            stored: true,
        };
        let strays = &mut self.state.borrow_mut().strays;
        strays.insert(name.to_owned(), stray);
    }

    /// Asks the kernel which of them came from the previous one.
    pub(super) async fn tell_strays_apart(&self) {
        if self.state.borrow().strays.is_empty() {
            return;
        }
        let asked = self.ask_kernel("LIST_SESSIONS", |kernel| kernel.sessions(Opener::Waited));
        let Ok(Ok(Some(listed))) = asked.await else {
            return;
        };
        let mut state = self.state.borrow_mut();
        for entry in listed {
            let incoming = entry.direction == Direction::Incoming;
            let name = entry.name.filter(|_| incoming && !entry.of_device);
            let name = name.map(|name| name.to_string()).unwrap_or_default();
            if let Some(stray) = state.strays.get_mut(&name) {
                stray.incoming = true;
            }
        }
    }

    /// Whether a session may be made: one of that name must not lie here.
    ///
    /// # Errors
    /// One does, and it may be this workload's own.
    pub(super) fn is_no_stray(&self, name: &str) -> Result<(), client::Error> {
        match self.state.borrow().strays.contains_key(name) {
            false => Ok(()),
            true => Err(client::Error::Denied {
                reason: format!(
                    "luod has a session '{name}' already, and the note of whose it is is gone or \
                     damaged: an administrator gives it up with `luoctl release --force {name}`"
                ),
            }),
        }
    }

    /// Releases one for an administrator; says whether it was one. Whatever it is, its end is
    /// that nobody has it any more: one of the previous kernel is finished by that.
    pub(super) async fn release_stray(&self, name: &str) -> bool {
        let stray = self.state.borrow_mut().strays.remove(name);
        let Some(stray) = stray else {
            return false;
        };
        tracing::warn!(session = name, "released by an administrator, by force");
        self.unstore(name);
        self.close(name, stray.session);
        self.note(TimelineKind::Finished, Line::text(name));
        // If the kernel does not let go of it in time, it does so later.
        let _ = self.is_closed(name, "release").await;
        true
    }
}
