// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a fleet stands, as a server tells it. Times are milliseconds since 1970 (UTC), by the
//! servers' clocks.

use serde::{Deserialize, Serialize};

/// The path of the status. `?after=REVISION` waits for a newer one, for a while.
pub const STATUS: &str = "/v1/fleet/status";

/// The path of what an administrator does; the verb follows: `/v1/fleet/hold`.
pub const FLEET: &str = "/v1/fleet/";

/// The path of the audit log's last lines.
pub const AUDIT: &str = "/v1/fleet/audit";

/// What an administrator does to a host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ByHand {
    /// The host.
    pub host: String,
    /// Why, for the log.
    pub reason: String,
}

/// What came of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Done {
    /// Whether it has changed anything; only what has is in the log.
    pub changed: bool,
}

/// A condition of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Condition {
    /// `Halted`, `Complete` or `Progressing`.
    pub name: String,
    /// Whether it is so.
    pub is: bool,
    /// Why.
    pub reason: String,
}

/// A group, for those who look.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Which groups it waits for: those of a smaller stage.
    pub stage: u32,
    /// Hosts that the server knows.
    pub hosts: u64,
    /// Those that have completed this rollout.
    pub done: u64,
    /// Those that failed, or are overdue.
    pub failed: u64,
    /// Slots that are taken.
    pub slots_taken: u64,
    /// Slots that there are.
    pub slots: u64,
    /// The middle one of the blackouts in this rollout: microseconds.
    pub blackout_median_us: Option<u64>,
    /// The longest: microseconds.
    pub blackout_max_us: Option<u64>,
}

/// How a host stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// It has asked for a slot, and waits.
    Waiting,
    /// It could have a slot, and has not asked for long.
    Silent,
    /// It has a slot.
    Updating,
    /// It has a slot, and failed or is overdue.
    Failed,
    /// It has completed this rollout.
    Done,
    /// An administrator holds it.
    Held,
}

/// A host, for those who look.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Host {
    /// Its name.
    pub id: String,
    /// Its group.
    pub group: String,
    /// How it stands.
    pub state: HostState,
    /// What it waits for, or what went wrong, in words.
    pub why: Option<String>,
    /// Since when it has its slot.
    pub slot_since_ms: Option<i64>,
    /// When it completed this rollout.
    pub done_ms: Option<i64>,
    /// The kernel's release that it runs, if it told.
    pub release: Option<String>,
    /// The blackout of its last update: microseconds.
    pub blackout_us: Option<u64>,
}

/// How a fleet stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Fleet {
    /// The version of this document.
    pub version: u32,
    /// The state's revision.
    pub revision: i64,
    /// When it was told.
    pub now_ms: i64,
    /// The rollout's name; none without a policy.
    pub rollout: Option<String>,
    /// The release that it is about.
    pub target: Option<String>,
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// The groups, in the policy's order.
    pub groups: Vec<Group>,
    /// The hosts, by name.
    pub hosts: Vec<Host>,
}

impl Fleet {
    /// A condition by its name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.conditions
            .iter()
            .any(|condition| condition.name == name && condition.is)
    }
}

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct AuditLine {
    /// Its number.
    pub number: u64,
    /// When: milliseconds since 1970 (UTC).
    pub at_ms: i64,
    /// A word: `granted`, `returned`, `failed`, `hold`, `resume`, `release`, `policy`, `stop`, `go`.
    pub what: String,
    /// The host, if it is about one.
    pub host: Option<String>,
    /// By whom: the host, or the administrator.
    pub by: String,
    /// Why, in words.
    pub reason: Option<String>,
}
