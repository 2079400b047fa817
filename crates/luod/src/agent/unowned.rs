// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sessions that no workload of this agent owns. Those of the previous kernel that nobody has
//! claimed: no workload gets them from this agent, so the status tells of them until an
//! administrator sees to them. And those for the next kernel that the agent has let go of and that
//! another program still has, mostly a child of a workload that is gone: nobody can make a new
//! session of that name meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use luo_preflight::running::holders;
use luo_preflight::system::System;
use luo_sys::{Direction, SessionEntry, SessionState};
use luo_varlink::{Check, CheckStatus, TimelineKind};
use rustix::process::{getpid, getppid};
use tokio::time::timeout;

use super::Agent;
use super::clock::after;
use super::state::Unowned;
use super::timeline::Line;
use super::written::on_a_thread_of;
use crate::decide::names::OWN_SESSION;
use crate::kernel::Opener;

/// How long a look at them counts as fresh.
const FRESH: Duration = Duration::from_millis(500);

/// How long a call for the status waits for the kernel.
const PATIENCE: Duration = Duration::from_secs(2);

/// So many sessions that luod has let go of are told of.
const MOST_TOLD: usize = 16;

/// The remedy.
pub(super) const REMEDY: &str = "a program that opens /dev/liveupdate itself retrieves them by \
                                 name; if there is none, `luoctl release --force NAME` gives one \
                                 up, with what is in it";

/// Whether the kernel calls a session so that a user without privileges has made by itself.
fn is_of_a_user(name: &str) -> bool {
    let user = name
        .strip_prefix("uid:")
        .and_then(|rest| rest.split_once(':'));
    user.is_some_and(|(user, _)| user.parse::<u32>().is_ok())
}

/// In words.
pub(super) fn words(names: &[String]) -> String {
    let (users, others): (Vec<_>, Vec<_>) = names.iter().partition(|name| is_of_a_user(name));
    let told = [
        (
            others,
            "the kernel has sessions of the previous one whose owner luod does not know, so no \
             workload gets them from luod",
        ),
        (
            users,
            "the kernel has sessions of the previous one that are users' own, made without luod, \
             and that they have not taken back yet",
        ),
    ];
    let told = told.into_iter().filter(|(names, _)| !names.is_empty());
    let told = told.map(|(names, what)| {
        let names: Vec<_> = names.into_iter().map(String::as_str).collect();
        format!("{what}: {}", names.join(", "))
    });
    told.collect::<Vec<_>>().join("; ")
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
        // A change while the kernel is asked makes the answer an old one.
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
        let is_same = self.unowned.borrow().changes == changes;
        let elsewhere = self.still_elsewhere(&entries, is_same);
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
            elsewhere,
            at: is_same.then(Instant::now),
            changes: self.unowned.borrow().changes,
        };
        self.unowned.replace(found.clone());
        found
    }

    /// Which sessions that the agent has let go of are open all the same, by a list of the kernel's.
    /// Those that are in the list no more are forgotten, if it is new.
    fn still_elsewhere(&self, entries: &[SessionEntry], is_new: bool) -> Vec<(String, String)> {
        let listed: BTreeMap<_, _> = entries
            .iter()
            .filter(|entry| entry.direction == Direction::Outgoing && !entry.of_device)
            .filter_map(|entry| Some((entry.name.as_ref()?.to_string(), entry.state)))
            .collect();
        let mut state = self.state.borrow_mut();
        if is_new {
            state.parted.retain(|name| listed.contains_key(name));
        }
        // One that is just being closed, here or by the service manager, is nobody's.
        let is_elsewhere = |name: &str| {
            let is_open = listed.get(name) == Some(&SessionState::Open);
            let is_here = state.sessions.get(name).is_some() || state.sessions.is_closing(name);
            is_open && !is_here && !self.store.may_not_have_closed(name)
        };
        let parted = state.parted.iter();
        let elsewhere = parted.filter(|(name, _)| is_elsewhere(name.as_str()));
        let pairs = elsewhere.map(|(name, workload)| (name.clone(), workload.clone()));
        pairs.take(MOST_TOLD).collect()
    }

    /// Which processes but this one and the service manager have a session for the next kernel, as
    /// far as luod may see that: without CAP_SYS_PTRACE it may not look at all of them.
    pub(super) async fn holders_elsewhere(&self, name: &str) -> Vec<String> {
        let root = self.config().checks.root.clone();
        let name = name.to_owned();
        let looking = on_a_thread_of(&self.lookers, move || {
            let own = [Some(getpid()), getppid()].into_iter().flatten();
            let own: Vec<_> = own
                .filter_map(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok())
                .collect();
            Ok(System::at(&root).holders_of_new_session(&name, &own))
        });
        tokio::select! {
            biased;
            holders = looking => holders.unwrap_or_default(),
            () = after(PATIENCE) => Vec::new(),
        }
    }

    /// The checks of sessions that luod has let go of and some program has.
    pub(super) async fn check_elsewhere(&self, unowned: &Unowned) -> Vec<Check> {
        let mut checks = Vec::new();
        for (name, workload) in &unowned.elsewhere {
            let holders = self.holders_elsewhere(name).await;
            checks.push(holders::session_elsewhere(name, workload, &holders));
        }
        checks
    }

    /// Tells of them in the log. Gives their names.
    pub(super) async fn tell_unowned(&self) -> Vec<String> {
        let names = self.look_for_unowned().await.names;
        if names.iter().any(|name| !is_of_a_user(name)) {
            tracing::error!("{}: {REMEDY}", words(&names));
        } else if !names.is_empty() {
            tracing::info!("{}: {REMEDY}", words(&names));
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

    /// Those that were there and are there still. None of the previous kernel comes later, so where
    /// there were none, and luod has let go of nothing, the kernel is not asked again.
    pub(super) async fn still_unowned(&self) -> Unowned {
        let known = {
            let known = self.unowned.borrow();
            let is_fresh = known.at.is_some_and(|at| at.elapsed() < FRESH);
            let are_none = known.at.is_some()
                && known.names.is_empty()
                && self.state.borrow().parted.is_empty();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_have_made_by_themselves_is_told_as_theirs() {
        let words = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            words(&names)
        };
        let unknown = words(&["web", "uid:x:vm"]);
        assert!(unknown.ends_with("from luod: web, uid:x:vm"), "{unknown}");
        let users = words(&["uid:1000:vm"]);
        assert!(users.ends_with("back yet: uid:1000:vm"), "{users}");
        assert!(!users.contains("does not know"), "{users}");
        let both = words(&["uid:1000:vm", "web"]);
        assert!(both.contains("from luod: web; "), "{both}");
        assert!(both.ends_with("back yet: uid:1000:vm"), "{both}");
    }
}
