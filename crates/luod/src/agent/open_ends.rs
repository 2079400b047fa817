// SPDX-License-Identifier: MIT OR Apache-2.0
//! Updates that stand in the history as under way, and are not: they have ended with their
//! machine, or with an agent whose notes are gone.
//!
//! | the line is of | before the jump | about to jump | after it |
//! |---|---|---|---|
//! | this boot | cancelled | cancelled | incomplete |
//! | another, and a newer update is there | incomplete: not known | the same | the same |
//! | another | cancelled | lost; incomplete if sessions came along | incomplete |

use luo_sys::Direction;
use luo_varlink::{HistoryEntry, Orchestrator, Outcome, Phase};

use super::Agent;
use super::written::Source;
use crate::journal::clock::wall_us;
use crate::journal::history::Open;
use crate::kernel::{self, Opener};

/// The disk has a newer update, so the machine went on after this one, in whatever way, and the
/// disk has not taken what came of it.
fn not_known() -> (Outcome, String) {
    let reason = "what came of it is not known: the disk has taken a newer update, and not the end \
                  of this one";
    (Outcome::Incomplete, reason.to_owned())
}

impl Agent {
    /// Ends such updates. There is no update under way here, and no record of one.
    pub(super) async fn end_the_open(&self) {
        let Some((open, newest)) = self.open_ends().await else {
            return;
        };
        let last = newest.as_ref().map(|newest| newest.update.clone());
        if let Some(newest) = newest.filter(|newest| newest.outcome == Outcome::Lost) {
            self.is_lost(newest.update);
        }
        let left = match open.iter().any(|open| open.phase() == Phase::Jumping) {
            true => self.left_by_the_previous().await,
            false => Vec::new(),
        };
        for open in open {
            let is_last = last.as_ref() == Some(&open.entry.update);
            let (outcome, reason) = match is_last || open.is_of_this_boot {
                true => self.told_of(&open, &left),
                false => not_known(),
            };
            self.end_open(open, outcome, reason);
        }
    }

    /// Ends the update whose record cannot be read and is given up.
    pub(super) async fn end_the_unreadable(&self, why: &str) {
        let Some((open, _)) = self.open_ends().await else {
            return;
        };
        // No update begins while it is so, and an earlier luod of this boot may have read it.
        let of_before = open
            .into_iter()
            .filter(|open| !open.is_of_this_boot || open.phase() == Phase::Updated);
        for open in of_before {
            let reason = format!("its record cannot be read ({why}), and was given up");
            self.end_open(open, Outcome::Incomplete, reason);
        }
    }

    /// The last update was lost, and somebody should know.
    fn is_lost(&self, update: String) {
        self.lost.replace(Some(update));
    }

    /// The sessions that the kernel has of the previous one, luod's own among them.
    async fn left_by_the_previous(&self) -> Vec<String> {
        let listing = self.ask_kernel("LIST_SESSIONS", |kernel| kernel.sessions(Opener::Waited));
        let listed = listing.await.ok().and_then(Result::ok).flatten();
        let incoming = listed
            .into_iter()
            .flatten()
            .filter(|entry| entry.direction == Direction::Incoming && !entry.of_device);
        let names = incoming.filter_map(|entry| entry.name);
        names.map(|name| name.to_string()).collect()
    }

    /// The outcome of an update; `left` are the sessions of the previous kernel that are here.
    fn told_of(&self, open: &Open, left: &[String]) -> (Outcome, String) {
        let is_here = open.is_of_this_boot;
        if open.phase() == Phase::Jumping && !is_here && !left.is_empty() {
            let left = left.join(", ");
            let reason = format!(
                "the machine jumped, and luod's record of it is not there, so luod does not know \
                 whose these sessions are that came along: {left}"
            );
            return (Outcome::Incomplete, reason);
        }
        let (outcome, reason) = match open.phase() {
            Phase::Updated if is_here => (
                Outcome::Incomplete,
                "luod was restarted, and what it had noted of the update is gone",
            ),
            Phase::Updated => (
                Outcome::Incomplete,
                "the machine has started anew before it was over: what was not taken back by \
                 then is gone",
            ),
            _ if is_here => (Outcome::Cancelled, "luod was restarted"),
            Phase::Jumping if self.probe.orchestrator == Orchestrator::None => (
                Outcome::Lost,
                "it was lost in the jump: the machine has started anew, in a kernel without \
                 live update",
            ),
            Phase::Jumping => (
                Outcome::Lost,
                "it was lost in the jump: the machine has started anew, and nothing came along",
            ),
            _ => (
                Outcome::Cancelled,
                "the machine has started anew before luod had it jump",
            ),
        };
        (outcome, reason.to_owned())
    }

    fn end_open(&self, open: Open, outcome: Outcome, reason: String) {
        let Open {
            entry,
            report,
            is_of_this_boot,
        } = open;
        tracing::error!(
            update = entry.update,
            outcome = outcome.word(),
            "an update has ended without luod: {reason}"
        );
        if outcome == Outcome::Lost {
            self.is_lost(entry.update.clone());
        }
        let entry = HistoryEntry {
            outcome,
            reason: Some(reason),
            to_kernel: kernel::release(),
            // Nobody knows when the machine has ended.
            took_us: match is_of_this_boot {
                true => wall_us().checked_sub(entry.began_us),
                false => None,
            },
            ..entry
        };
        self.over(entry, report, Source::History);
    }
}
