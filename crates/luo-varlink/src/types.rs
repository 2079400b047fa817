// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records that several interfaces share.

use core::fmt;

use serde::{Deserialize, Serialize};
use zlink_core::introspect::CustomType;

/// Makes an enum of words: how it is serialized, displayed and listed.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, CustomType)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        #[zlink(crate = "zlink_core", rename_all = "snake_case")]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)*
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word in messages and in JSON.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

words! {
    /// Where the agent is in an update.
    ///
    /// ```text
    /// normal -> preparing -> prepared -> freezing -> frozen -> jumping ==kexec==> updated -> normal
    ///              |            |           |          |          |
    ///              `------------+-----------+----------+----------`--> cancelling -> normal
    /// ```
    Phase {
        /// No update is under way.
        Normal = "normal",
        /// Workloads are asked to get ready.
        Preparing = "preparing",
        /// All workloads are ready; they run on.
        Prepared = "prepared",
        /// Workloads are asked to stand still.
        Freezing = "freezing",
        /// All workloads stand still.
        Frozen = "frozen",
        /// The machine is about to jump.
        Jumping = "jumping",
        /// What was done is undone.
        Cancelling = "cancelling",
        /// After the jump: workloads take back what is theirs.
        Updated = "updated",
    }
}

words! {
    /// How a workload stands.
    WorkloadState {
        /// It runs, and no update concerns it.
        Running = "running",
        /// It was asked to get ready and has not answered.
        Preparing = "preparing",
        /// It is ready, and runs on.
        Ready = "ready",
        /// It was asked to stand still and has not answered.
        Freezing = "freezing",
        /// It stands still.
        Frozen = "frozen",
        /// It has left after it was ready; the agent holds its sessions.
        Left = "left",
        /// Its connection is gone, and the agent still holds sessions of it.
        Lost = "lost",
        /// After the jump: nobody has asked for its sessions yet.
        Waiting = "waiting",
        /// After the jump: it is taking back what is its.
        Restoring = "restoring",
        /// After the jump: it serves again.
        Restored = "restored",
    }
}

words! {
    /// Who has a session.
    Custody {
        /// Its workload, and the agent a copy.
        Shared = "shared",
        /// The agent alone: its workload has left, or is gone.
        Agent = "agent",
        /// The kernel: it came from the previous one, and nobody has claimed it.
        Kernel = "kernel",
    }
}

words! {
    /// Which orchestrator the kernel has.
    Orchestrator {
        /// This project's: it has states, events and queries of its own.
        Contract = "contract",
        /// Mainline's: sessions only.
        Mainline = "mainline",
        /// None: no live update is possible.
        None = "none",
    }
}

words! {
    /// What a workload is told.
    EventKind {
        /// Get ready: preserve what is to survive, and answer.
        Prepare = "prepare",
        /// Stand still: change nothing of it any more, and answer.
        Freeze = "freeze",
        /// The update is off: go on as before. No answer is expected.
        Cancel = "cancel",
    }
}

words! {
    /// What is asked of workloads.
    Step {
        /// To get ready.
        Prepare = "prepare",
        /// To stand still.
        Freeze = "freeze",
    }
}

words! {
    /// What a line of a timeline is about.
    TimelineKind {
        /// A phase has begun.
        Phase = "phase",
        /// A workload was asked.
        Asked = "asked",
        /// A workload has agreed.
        Agreed = "agreed",
        /// A workload has refused.
        Vetoed = "vetoed",
        /// A workload did not answer in time.
        Late = "late",
        /// A workload's connection was lost.
        Lost = "lost",
        /// A workload has left its sessions with the agent.
        Left = "left",
        /// A check was made.
        Checked = "checked",
        /// The kernel was asked for something.
        Kernel = "kernel",
        /// A workload has taken back a session.
        Claimed = "claimed",
        /// A workload serves again.
        Restored = "restored",
        /// A session is finished, or released because nobody took it back.
        Finished = "finished",
        /// The update is over.
        Over = "over",
    }
}

words! {
    /// How an update ended, or that it has not.
    Outcome {
        /// The machine runs the new kernel and all workloads have theirs back.
        Completed = "completed",
        /// The machine runs the new kernel; something was not taken back.
        Incomplete = "incomplete",
        /// The machine runs the new kernel, and jumped by somebody else's hand before the
        /// workloads stood still; all have theirs back.
        Unfrozen = "unfrozen",
        /// Nothing has changed: somebody refused, was late or was lost.
        Cancelled = "cancelled",
        /// Nothing has changed: a check failed.
        Refused = "refused",
        /// The machine was about to jump, and has started anew without what it was to take
        /// along: power was lost in the jump, say.
        Lost = "lost",
        /// It is not over.
        UnderWay = "under_way",
    }
}

impl Outcome {
    /// Whether the update is over.
    #[must_use]
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::UnderWay)
    }
}

words! {
    /// How a check ended.
    CheckStatus {
        /// As it must be.
        Ok = "ok",
        /// To be looked at, but no obstacle.
        Warning = "warning",
        /// An update would fail, or lose something.
        Failed = "failed",
        /// It could not be told; says why.
        Unknown = "unknown",
    }
}

/// Who a workload is, across reboots: never a process number.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, CustomType,
)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[zlink(crate = "zlink_core")]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The unit of the service manager, or the control group; none if it is in the
    /// root one.
    pub unit: Option<String>,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}, gid {}", self.uid, self.gid)?;
        match &self.unit {
            Some(unit) => write!(f, ", {unit}"),
            None => Ok(()),
        }
    }
}

/// What a workload is told next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[zlink(crate = "zlink_core")]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// The update's id, which the answer repeats.
    pub update: String,
    /// Milliseconds from now within which the answer has to be there; 0 if none is
    /// expected.
    pub deadline_ms: u64,
    /// Why an update is off.
    pub reason: Option<String>,
}

/// A workload, for those who look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[zlink(crate = "zlink_core")]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// Who it is.
    pub identity: Identity,
    /// How it stands.
    pub state: WorkloadState,
    /// Whether it is connected.
    pub connected: bool,
    /// The workloads that it needs.
    pub needs: Vec<String>,
    /// Its sessions.
    pub sessions: Vec<String>,
    /// If it is waited for: milliseconds that are left until it is late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
    /// What it says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
}

/// What an update is at while it asks no workload, for those who look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[zlink(crate = "zlink_core")]
pub struct Work {
    /// What is waited for, in words.
    pub what: String,
    /// Milliseconds that are left until it is late.
    pub left_ms: u64,
}

/// A session, for those who look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[zlink(crate = "zlink_core")]
pub struct SessionInfo {
    /// Its name.
    pub name: String,
    /// Its workload, if the agent knows it.
    pub workload: Option<String>,
    /// Who has it.
    pub custody: Custody,
    /// Whether it came from the previous kernel.
    pub incoming: bool,
    /// Its files, if the kernel tells.
    pub files: Option<u64>,
    /// Bytes of memory that they keep, if the kernel tells.
    pub bytes: Option<u64>,
    /// Whose it is, if the agent knows it: it is given back to nobody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Whether its workload has left it with the agent, if that knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<bool>,
}

/// How the agent and the machine stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[zlink(crate = "zlink_core")]
pub struct Status {
    /// Where the agent is.
    pub phase: Phase,
    /// The update that is under way.
    pub update: Option<String>,
    /// What it is at, if that is none of the workloads: the checks, or a call of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
    /// The kernel's orchestrator.
    pub orchestrator: Orchestrator,
    /// The kernel's own state, if it has one.
    pub kernel_state: Option<String>,
    /// The kernel's release.
    pub kernel_release: String,
    /// The agent's version.
    pub version: String,
    /// The workloads, by name.
    pub workloads: Vec<Workload>,
    /// What an administrator should look at, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnings: Option<Vec<String>>,
    /// Why the previous kernel's record cannot be read, if that is so: nothing of it is touched
    /// then, and no update begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// A line of an update's timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[zlink(crate = "zlink_core")]
pub struct TimelineEvent {
    /// The update's id.
    pub update: String,
    /// Microseconds since 1970 (UTC), by a clock that survives a kexec.
    pub time_us: u64,
    /// Where the agent is.
    pub phase: Phase,
    /// What it is about.
    pub kind: TimelineKind,
    /// The workload it is about, if it is about one.
    pub workload: Option<String>,
    /// Microseconds that it took, if that says something.
    pub took_us: Option<u64>,
    /// In words.
    pub detail: Option<String>,
}

/// An update that is over, or under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[zlink(crate = "zlink_core")]
pub struct HistoryEntry {
    /// The update's id.
    pub update: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was cancelled, refused or lost; where it is, if it is under way.
    pub reason: Option<String>,
    /// When it began: microseconds since 1970 (UTC).
    pub began_us: u64,
    /// How long it took, to the end or so far: microseconds. None if that is not known: it has
    /// ended with its machine, or the clock was set back in the jump.
    pub took_us: Option<u64>,
    /// From the moment when the first workload was asked to stand still to the moment
    /// when the last one served again: microseconds. None if there was no jump, or if that is
    /// not known.
    pub blackout_us: Option<u64>,
    /// The kernel it began in.
    pub from_kernel: String,
    /// The kernel it ended in, or is in.
    pub to_kernel: String,
    /// All that happened.
    pub timeline: Vec<TimelineEvent>,
}

/// The kernel to jump into.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[zlink(crate = "zlink_core")]
pub struct Target {
    /// Path of the image; what the configuration says if there is none.
    pub image: Option<String>,
    /// Path of the initrd.
    pub initrd: Option<String>,
    /// The command line; without it that of the configuration, of the entry, in a unified
    /// kernel image, or of the running kernel: the first that there is.
    pub command_line: Option<String>,
    /// Paths of initrds behind that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_initrds: Option<Vec<String>>,
    /// Name of an entry of the boot loader, in place of the image: what is not named here
    /// is taken from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[zlink(crate = "zlink_core")]
pub struct Check {
    /// A word for programs, for example `target-abi`.
    pub name: String,
    /// How it ended.
    pub status: CheckStatus,
    /// What was found.
    pub found: String,
    /// What to do; none if there is nothing to do.
    pub remedy: Option<String>,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[zlink(crate = "zlink_core")]
pub struct Report {
    /// Whether an update may begin: no check has failed.
    pub ok: bool,
    /// Each check.
    pub checks: Vec<Check>,
}

/// What is done together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[zlink(crate = "zlink_core")]
pub struct PlanStep {
    /// What is asked.
    pub step: Step,
    /// The workloads that are asked at once.
    pub workloads: Vec<String>,
}

/// In which order an update would ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[zlink(crate = "zlink_core")]
pub struct Plan {
    /// The steps, in order.
    pub steps: Vec<PlanStep>,
    /// What stands in the way, in words.
    pub obstacles: Vec<String>,
}
