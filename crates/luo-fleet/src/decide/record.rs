// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is known of a host. It is kept as JSON; what a newer version has added is dropped by an
//! older one that writes it, so fields are only ever added with a default.
//!
//! ```text
//!          granted              steady-state
//!   idle ----------> has a slot ------------> idle (done, or cancelled)
//!                     |     ^   \
//!              failed |     |    `--------> idle (released by hand)
//!                     v     |
//!                 has a slot and failed
//! ```
//!
//! Nothing but the host and an administrator takes a slot back: no clock does.

use luo_fleetlock::report::{Ending, Report};
use serde::{Deserialize, Serialize};

/// What is known of a host.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Record {
    /// Its group.
    pub group: String,
    /// Its slot, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// Why it is held, if an administrator holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// What came of its last slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Last>,
    /// The kernel's release that it ran when it asked last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// The release that it would have started when it asked last; none since its last slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// What a rollout is to bring hosts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Goal {
    /// Its name.
    pub rollout: String,
    /// The kernel's release, if it names one.
    pub release: Option<String>,
}

impl Goal {
    /// A goal.
    #[must_use]
    pub fn new(rollout: &str, release: Option<&str>) -> Self {
        Self {
            rollout: rollout.to_owned(),
            release: release.map(str::to_owned),
        }
    }
}

/// A slot that is taken.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Slot {
    /// When: milliseconds since 1970.
    pub since_ms: i64,
    /// In which rollout.
    pub rollout: String,
    /// Why the update failed, if the host has told that it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// What came of a slot.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Last {
    /// When it was given back: milliseconds since 1970.
    pub at_ms: i64,
    /// In which rollout it was taken.
    pub rollout: String,
    /// How it ended.
    pub end: End,
    /// The report, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

/// How a slot came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The host is done: it said so, or says no more than the protocol has.
    #[default]
    Done,
    /// The update did not take place.
    Cancelled,
    /// An administrator took it.
    Released,
}

impl Record {
    /// The host takes a slot.
    pub fn take(&mut self, now_ms: i64, rollout: &str) {
        self.slot = Some(Slot {
            since_ms: now_ms,
            rollout: rollout.to_owned(),
            failed: None,
        });
    }

    /// The host gives its slot back. Says whether it had one.
    pub fn give_back(&mut self, now_ms: i64, report: Option<Report>) -> bool {
        let end = match report.as_ref().map(|report| report.ending) {
            Some(Ending::Cancelled) => End::Cancelled,
            _ => End::Done,
        };
        self.end(now_ms, end, report)
    }

    /// An administrator takes the slot. Says whether there was one.
    pub fn release(&mut self, now_ms: i64) -> bool {
        self.end(now_ms, End::Released, None)
    }

    fn end(&mut self, now_ms: i64, end: End, report: Option<Report>) -> bool {
        let Some(slot) = self.slot.take() else {
            return false;
        };
        let release = report.as_ref().and_then(|report| report.release.clone());
        self.running = release.or(self.running.take());
        self.target = None;
        self.last = Some(Last {
            at_ms: now_ms,
            rollout: slot.rollout,
            end,
            report,
        });
        true
    }

    /// The host tells that its update failed. Says whether that is new.
    pub fn fail(&mut self, why: &str) -> bool {
        match &mut self.slot {
            Some(slot) if slot.failed.is_none() => {
                slot.failed = Some(why.to_owned());
                true
            }
            _ => false,
        }
    }

    /// When it completed a rollout, if it has: milliseconds since 1970.
    #[must_use]
    pub fn completed_ms(&self, rollout: &str) -> Option<i64> {
        let last = self.last.as_ref()?;
        let done = self.slot.is_none() && last.end == End::Done && last.rollout == rollout;
        done.then_some(last.at_ms)
    }

    /// Since when there is nothing left to do for a goal, if there is nothing: it has completed the
    /// rollout, or runs the release by another way (a cold boot after a failure, somebody's hand).
    /// That is since its last slot, or since ever: 0. Such a host is told that it is done, so whoever
    /// waited for it to complete the rollout would wait for ever.
    #[must_use]
    pub fn done_ms(&self, goal: &Goal) -> Option<i64> {
        if let Some(at) = self.completed_ms(&goal.rollout) {
            return Some(at);
        }
        let runs_it = goal.release.is_some() && self.running == goal.release;
        let is_done = self.slot.is_none() && runs_it;
        is_done.then(|| self.last.as_ref().map_or(0, |last| last.at_ms))
    }
}
