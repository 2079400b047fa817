// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sessions of the previous kernel that nobody has claimed and nobody here owns: no workload
//! gets them from this agent, so they are told of until somebody sees to them.

use std::time::{Duration, Instant};

use luo_sys::{Direction, SessionState};
use luo_varlink::{Check, CheckStatus, TimelineKind};
use tokio::time::timeout;

use super::Agent;
use super::state::Unowned;
use super::timeline::Line;
use crate::decide::names::OWN_SESSION;
use crate::kernel::Opener;

/// How long a look at them counts as fresh.
const FRESH: Duration = Duration::from_millis(500);

/// How long a call for the status waits for the kernel.
const PATIENCE: Duration = Duration::from_secs(2);

/// What to do about them.
pub(super) const REMEDY: &str = "a program that opens /dev/liveupdate itself retrieves them by \
                                 name; if there is none, `luoctl release --force NAME` gives one \
                                 up, with what is in it";

/// In words.
pub(super) fn words(names: &[String]) -> String {
    format!(
        "the kernel has sessions of the previous one whose owner luod does not know, so no \
         workload gets them from luod: {}",
        names.join(", ")
    )
}

/// That some of them would be lost.
pub(super) fn words_of_loss(names: &[String]) -> String {
    format!(
        "the update drops these sessions of the previous kernel, with what is in them, for there \
         are new ones of their names: {}",
        names.join(", ")
    )
}

impl Agent {
    /// Looks which there are. None of an unreadable record is known to be nobody's.
    pub(super) async fn look_for_unowned(&self) -> Unowned {
        if self.state.borrow().unreadable.is_some() {
            return Unowned::default();
        }
        // What changes while the kernel is asked makes the answer an old one.
        let changes = self.unowned.borrow().changes;
        let asked = self.ask_kernel("LIST_SESSIONS", |kernel| kernel.sessions(Opener::Moment));
        let Ok(Ok(listed)) = asked.await else {
            // Why it cannot be asked is told by others.
            return self.unowned.borrow().clone();
        };
        let entries = listed.unwrap_or_default();
        let is_new = |name: &str| {
            let mut entries = entries.iter();
            entries.any(|entry| {
                let is_outgoing = entry.direction == Direction::Outgoing && !entry.of_device;
                let known = entry.name.as_ref().filter(|_| is_outgoing);
                known.is_some_and(|known| known.as_bytes() == name.as_bytes())
            })
        };
        let state = self.state.borrow();
        let left = entries.iter().filter_map(|entry| {
            let is_left = entry.direction == Direction::Incoming
                && entry.state == SessionState::Unclaimed
                && !entry.of_device;
            let name = entry.name.as_ref().filter(|_| is_left)?.to_string();
            (name != OWN_SESSION).then_some(name)
        });
        let left: Vec<_> = left.collect();
        let replaced = left.iter().filter(|name| is_new(name)).cloned().collect();
        // A session that somebody has made since is another one, whatever its name.
        let is_known = |name: &String| state.sessions.get(name).is_some_and(|held| held.incoming);
        let found = Unowned {
            replaced,
            names: left.into_iter().filter(|name| !is_known(name)).collect(),
            at: (self.unowned.borrow().changes == changes).then(Instant::now),
            changes: self.unowned.borrow().changes,
        };
        self.unowned.replace(found.clone());
        found
    }

    /// Tells of them in the log. Gives their names.
    pub(super) async fn tell_unowned(&self) -> Vec<String> {
        let names = self.look_for_unowned().await.names;
        if !names.is_empty() {
            tracing::error!("{}: {REMEDY}", words(&names));
        }
        names
    }

    /// The check that an update drops none of the previous kernel's sessions: of two of one name
    /// the kernel hands over the one that was made last.
    pub(super) fn check_replaced(&self, unowned: &Unowned) -> Option<Check> {
        (!unowned.replaced.is_empty()).then(|| Check {
            name: "running-sessions".to_owned(),
            status: CheckStatus::Failed,
            found: words_of_loss(&unowned.replaced),
            remedy: Some(REMEDY.to_owned()),
        })
    }

    /// Says in the history which of them the update drops, where the configuration lets it.
    pub(super) fn note_the_replaced(&self) {
        let replaced = self.unowned.borrow().replaced.clone();
        if !replaced.is_empty() {
            let line = Line::text(words_of_loss(&replaced));
            self.note(TimelineKind::Kernel, line);
        }
    }

    /// Those that were there and are there still. None comes later, so where there were none
    /// the kernel is not asked again.
    pub(super) async fn still_unowned(&self) -> Unowned {
        let known = {
            let known = self.unowned.borrow();
            let is_fresh = known.at.is_some_and(|at| at.elapsed() < FRESH);
            let are_none = known.at.is_some() && known.names.is_empty();
            // While the kernel is at a step of an update it answers nobody.
            if are_none || is_fresh || self.at_work.has_the_kernel() {
                return known.clone();
            }
            known.clone()
        };
        let looked = timeout(PATIENCE, self.look_for_unowned()).await;
        looked.unwrap_or(known)
    }
}
