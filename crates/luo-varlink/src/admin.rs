// SPDX-License-Identifier: MIT OR Apache-2.0
//! `org.liveupdate.Admin`: what administrators say. Root's socket only.

use serde::{Deserialize, Serialize};
use zlink_core::introspect::{self, Type};
use zlink_core::{ReplyError, proxy};

use crate::types::{Phase, Plan, Report, SessionInfo, Step, Target, TimelineEvent};

/// The interface's name.
pub const INTERFACE: &str = "org.liveupdate.Admin";

/// The calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", content = "parameters")]
pub enum Method {
    /// In which order an update would ask, and what stands in the way. Changes nothing.
    #[serde(rename = "org.liveupdate.Admin.Plan")]
    Plan,
    /// Checks whether an update to a kernel would work. Changes nothing.
    #[serde(rename = "org.liveupdate.Admin.Check")]
    Check {
        /// The kernel.
        target: Target,
    },
    /// Checks, loads the kernel, and asks all workloads to get ready. It returns when
    /// all are, or when all is undone.
    #[serde(rename = "org.liveupdate.Admin.Prepare")]
    Prepare {
        /// The kernel.
        target: Target,
    },
    /// Asks all workloads to stand still.
    #[serde(rename = "org.liveupdate.Admin.Freeze")]
    Freeze,
    /// Jumps. There is a reply only if that is refused, and then all is undone.
    #[serde(rename = "org.liveupdate.Admin.Kexec")]
    Kexec,
    /// Ends an update before the jump: all workloads go on.
    #[serde(rename = "org.liveupdate.Admin.Cancel")]
    Cancel {
        /// Why, for the timeline.
        reason: Option<String>,
    },
    /// All of it: check, prepare, freeze, jump. With `more`, each line of the timeline
    /// is a reply. The connection ends with the jump.
    #[serde(rename = "org.liveupdate.Admin.Update")]
    Update {
        /// The kernel.
        target: Target,
    },
    /// Ends an update after the jump before its deadline. Sessions that nobody has
    /// claimed are finished, which releases them.
    #[serde(rename = "org.liveupdate.Admin.Finish")]
    Finish {
        /// Without it, sessions that nobody has claimed are an error.
        release_unclaimed: bool,
    },
    /// Releases a session that the agent holds for somebody who has left.
    #[serde(rename = "org.liveupdate.Admin.Release")]
    Release {
        /// The session's name.
        session: String,
    },
    /// All sessions that the agent and the kernel know.
    #[serde(rename = "org.liveupdate.Admin.ListSessions")]
    ListSessions,
}

/// Refusals.
#[derive(Clone, Debug, PartialEq, Eq, ReplyError, introspect::ReplyError)]
#[zlink(crate = "zlink_core", interface = "org.liveupdate.Admin")]
pub enum Error {
    /// A check failed; nothing was changed.
    CheckFailed {
        /// What was found.
        report: Report,
    },
    /// A workload refused; all is undone.
    Vetoed {
        /// The workload.
        workload: String,
        /// What it refused.
        step: Step,
        /// Why.
        reason: String,
    },
    /// A workload did not answer in time; all is undone.
    Late {
        /// The workload.
        workload: String,
        /// What it did not answer.
        step: Step,
        /// How long it had: milliseconds.
        deadline_ms: u64,
    },
    /// A workload's connection was lost; all is undone.
    Lost {
        /// The workload.
        workload: String,
        /// In which step.
        step: Step,
    },
    /// Not in this phase.
    Illegal {
        /// What was asked for.
        event: String,
        /// Where the agent is.
        phase: Phase,
    },
    /// Somebody ended the update.
    Cancelled {
        /// Why.
        reason: String,
    },
    /// What workloads need of each other cannot be met.
    BadPlan {
        /// What stands in the way.
        obstacles: Vec<String>,
    },
    /// The kernel refused; all is undone.
    Kernel {
        /// The call.
        call: String,
        /// Its error number, positive; 0 if it has none.
        errno: i32,
        /// In words, with what to do.
        message: String,
    },
    /// Sessions that nobody has claimed are left.
    Unclaimed {
        /// Their names.
        sessions: Vec<String>,
    },
    /// There is no such session in the agent's custody.
    NoSuchSession {
        /// Its name.
        session: String,
    },
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::CheckFailed { report } => {
                let failed = report.checks.iter();
                let failed = failed.filter(|check| check.status == crate::CheckStatus::Failed);
                f.write_str("the checks found obstacles, and nothing was changed")?;
                for check in failed {
                    write!(f, "\n  {}: {}", check.name, check.found)?;
                    if let Some(remedy) = &check.remedy {
                        write!(f, "\n    {remedy}")?;
                    }
                }
                Ok(())
            }
            Self::Vetoed {
                workload,
                step,
                reason,
            } => write!(f, "workload '{workload}' vetoes at {step}: {reason}"),
            Self::Late {
                workload,
                step,
                deadline_ms,
            } => write!(
                f,
                "workload '{workload}' did not answer {step} within {deadline_ms} ms"
            ),
            Self::Lost { workload, step } => {
                write!(f, "workload '{workload}' was lost at {step}")
            }
            Self::Illegal { event, phase } => write!(f, "{event} is not possible while {phase}"),
            Self::Cancelled { reason } => write!(f, "the update was cancelled: {reason}"),
            Self::BadPlan { obstacles } => {
                f.write_str("no update is possible:")?;
                obstacles
                    .iter()
                    .try_for_each(|text| write!(f, "\n  {text}"))
            }
            Self::Kernel {
                call,
                errno,
                message,
            } => write!(f, "{call}: {message} (errno {errno})"),
            Self::Unclaimed { sessions } => write!(
                f,
                "sessions that nobody has claimed: {}",
                sessions.join(", ")
            ),
            Self::NoSuchSession { session } => {
                write!(f, "there is no session '{session}' in the agent's custody")
            }
        }
    }
}

impl core::error::Error for Error {}

/// What [`Method::Plan`] answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
}

/// What [`Method::Check`] answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Checked {
    /// What was found; a check that failed is no error of the call.
    pub report: Report,
}

/// What [`Method::Prepare`] answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Prepared {
    /// The update's id.
    pub update: String,
}

/// What [`Method::Update`] answers, again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Progress {
    /// What happened.
    pub event: TimelineEvent,
}

/// What [`Method::Finish`] answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Finished {
    /// Sessions that nobody had claimed and that are released.
    pub released: Vec<String>,
}

/// What [`Method::ListSessions`] answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Sessions {
    /// The sessions, by name.
    pub sessions: Vec<SessionInfo>,
}

/// The calls, as methods of a connection.
#[expect(missing_docs, reason = "the calls are documented at `Method`")]
#[proxy(interface = "org.liveupdate.Admin", crate = "zlink_core")]
pub trait Admin {
    async fn plan(&mut self) -> zlink_core::Result<Result<Planned, Error>>;
    async fn check(&mut self, target: Target) -> zlink_core::Result<Result<Checked, Error>>;
    async fn prepare(&mut self, target: Target) -> zlink_core::Result<Result<Prepared, Error>>;
    async fn freeze(&mut self) -> zlink_core::Result<Result<(), Error>>;
    async fn kexec(&mut self) -> zlink_core::Result<Result<(), Error>>;
    async fn cancel(&mut self, reason: Option<&str>) -> zlink_core::Result<Result<(), Error>>;
    #[zlink(more)]
    async fn update(
        &mut self,
        target: Target,
    ) -> zlink_core::Result<
        impl futures_core::Stream<Item = zlink_core::Result<Result<Progress, Error>>>,
    >;
    async fn finish(
        &mut self,
        release_unclaimed: bool,
    ) -> zlink_core::Result<Result<Finished, Error>>;
    async fn release(&mut self, session: &str) -> zlink_core::Result<Result<(), Error>>;
    async fn list_sessions(&mut self) -> zlink_core::Result<Result<Sessions, Error>>;
}
