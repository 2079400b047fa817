// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sessions of the previous kernel that nobody has claimed and nobody here owns: no workload
//! gets them from this agent, so they are told of until somebody sees to them.

use std::time::{Duration, Instant};

use luo_sys::{Direction, SessionState};
use tokio::time::timeout;

use super::Agent;
use super::state::Unowned;
use crate::decide::names::OWN_SESSION;

/// How long a look at them counts as fresh.
const FRESH: Duration = Duration::from_millis(500);

/// How long a call for the status waits for the kernel.
const PATIENCE: Duration = Duration::from_secs(2);

/// What to do about them.
pub(super) const REMEDY: &str = "start the program that owns them; if there is none, `luoctl \
                                 release --force NAME` gives one up, with what is in it";

/// In words.
pub(super) fn words(names: &[String]) -> String {
    format!(
        "the kernel has sessions of the previous one whose owner luod does not know, so no \
         workload gets them from luod: {}",
        names.join(", ")
    )
}

impl Agent {
    /// Looks which there are. None of an unreadable record is known to be nobody's.
    pub(super) async fn look_for_unowned(&self) -> Vec<String> {
        if self.state.borrow().unreadable.is_some() {
            return Vec::new();
        }
        let asked = self.ask_kernel("LIST_SESSIONS", |kernel| kernel.sessions());
        let Ok(Ok(listed)) = asked.await else {
            // Why it cannot be asked is told by others.
            return self.unowned.borrow().names.clone();
        };
        let state = self.state.borrow();
        let entries = listed.into_iter().flatten();
        let unowned = entries.filter_map(|entry| {
            let is_left = entry.direction == Direction::Incoming
                && entry.state == SessionState::Unclaimed
                && !entry.of_device;
            let name = entry.name.filter(|_| is_left)?.to_string();
            let is_known = name == OWN_SESSION || state.sessions.get(&name).is_some();
            (!is_known).then_some(name)
        });
        let names: Vec<_> = unowned.collect();
        self.unowned.replace(Unowned {
            names: names.clone(),
            at: Some(Instant::now()),
        });
        names
    }

    /// Tells of them in the log. Gives their names.
    pub(super) async fn tell_unowned(&self) -> Vec<String> {
        let names = self.look_for_unowned().await;
        if !names.is_empty() {
            tracing::error!("{}: {REMEDY}", words(&names));
        }
        names
    }

    /// Those that were there and are there still. None comes later, so where there were none
    /// the kernel is not asked again.
    pub(super) async fn still_unowned(&self) -> Vec<String> {
        let known = {
            let known = self.unowned.borrow();
            let is_fresh = known.at.is_some_and(|at| at.elapsed() < FRESH);
            let names = known.names.clone();
            if names.is_empty() || is_fresh {
                return names;
            }
            names
        };
        let looked = timeout(PATIENCE, self.look_for_unowned()).await;
        looked.unwrap_or(known)
    }
}
