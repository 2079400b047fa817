// SPDX-License-Identifier: MIT OR Apache-2.0
//! The documents that `--json` writes. Fields are added, never renamed or removed; a reader
//! should pass over fields that it does not know.

use luo_varlink::{
    Check, HistoryEntry, Plan, Report, SessionInfo, Status, TimelineEvent, Workload, WorkloadState,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;
use serde_json::Value;

/// `luoctl sessions`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Sessions {
    /// All sessions, by name.
    pub sessions: Vec<SessionInfo>,
}

/// `luoctl graph`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Graph {
    /// The workloads, and those that are needed and not there.
    pub nodes: Vec<Node>,
}

/// A workload in the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// How it stands; null if it is needed and not there.
    pub state: Option<WorkloadState>,
    /// The workloads that it needs.
    pub needs: Vec<String>,
    /// Its sessions.
    pub sessions: Vec<String>,
    /// 0 for those that need nobody, else one more than the highest of those it needs;
    /// null if it needs itself, by whatever way, or such.
    pub level: Option<usize>,
}

/// `luoctl check`, and a dry run of `prepare` and `update`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Checked {
    /// What was found.
    pub report: Report,
    /// The order in which would be asked; in a dry run only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
}

/// `luoctl prepare`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Prepared {
    /// The update's id.
    pub update: String,
    /// The checks that warn of something.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Check>,
}

/// `luoctl freeze`, `cancel` and `release`, and what a dry run would do.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Done {
    /// The command.
    pub done: String,
    /// Whether it was a dry run: then nothing was done, and it could be.
    pub dry_run: bool,
}

/// `luoctl update`, `watch`: a line for each, as it happens. `luoctl kexec` and the end
/// of an update: `jumping`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// A line of the timeline.
    Event(TimelineEvent),
    /// The machine jumps; the connection ended as it must.
    Jumping(Jumping),
}

/// The machine jumps.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Jumping {
    /// The update's id, if it is known.
    pub update: Option<String>,
    /// Whether luod is gone and nobody else can say so: nearly always because of the jump.
    pub probably: bool,
}

/// `luoctl finish`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Finished {
    /// Sessions that nobody had claimed and that are released.
    pub released: Vec<String>,
}

/// `luoctl history`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct History {
    /// The updates, the newest first.
    pub updates: Vec<HistoryEntry>,
    /// What of the history cannot be read, or could not be written, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// How many older updates were asked for and are left out, because luod's answer would be
    /// too long. Without luod there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<i64>,
    /// Whether the newest line, or what luod has noted, cannot be read: an update, or the end of
    /// one, may be missing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unsure: bool,
    /// Why the previous kernel's record cannot be read, if that is so: what is not over here is
    /// not under way then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// Whether it was read from the disk, because luod was not there to be asked. Only then is
    /// this here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
}

/// `luoctl inspect`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Inspected {
    /// The agent, without its workloads; only if nothing was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<Status>,
    /// Workloads of that name, or all.
    pub workloads: Vec<Inspection>,
    /// Sessions of that name, or all.
    pub sessions: Vec<SessionInfo>,
}

/// A workload, with what it has to do with others.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Inspection {
    /// The workload.
    pub workload: Workload,
    /// The workloads that need it.
    pub needed_by: Vec<String>,
}

/// What any command writes that fails, as its last line.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Failed {
    /// Why.
    pub error: FailedInner,
}

/// Why a command has failed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Failure")]
pub struct FailedInner {
    /// A word for programs, for example `vetoed`.
    pub kind: String,
    /// The exit code.
    pub exit_code: u8,
    /// What happened.
    pub message: String,
    /// What to do next.
    pub next: Option<String>,
    /// What the agent refused with: an error of `org.liveupdate.Admin`, with its
    /// parameters.
    pub refusal: Option<Value>,
}

/// The documents, by the commands that write them.
#[must_use]
pub fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("check", schema_for!(Checked)),
        ("done", schema_for!(Done)),
        ("error", schema_for!(Failed)),
        ("finish", schema_for!(Finished)),
        ("fleet", schema_for!(luo_fleetlock::status::Fleet)),
        ("graph", schema_for!(Graph)),
        ("history", schema_for!(History)),
        ("inspect", schema_for!(Inspected)),
        ("line", schema_for!(Line)),
        ("plan", schema_for!(Plan)),
        ("prepare", schema_for!(Prepared)),
        ("sessions", schema_for!(Sessions)),
        ("status", schema_for!(Status)),
    ]
}
