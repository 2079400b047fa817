// SPDX-License-Identifier: MIT OR Apache-2.0
//! `org.liveupdate.Admin`: the calls of administrators, on root's socket only.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use zlink_core::introspect::{self, Type};
use zlink_core::{ReplyError, proxy};

use crate::types::{Check, Phase, Plan, Report, SessionInfo, Step, Target, TimelineEvent};

/// The interface's name.
pub const INTERFACE: &str = "org.liveupdate.Admin";

/// The calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", content = "parameters")]
pub enum Method {
    /// Gives the order in which an update would ask the workloads, and the obstacles. This
    /// changes nothing.
    #[serde(rename = "org.liveupdate.Admin.Plan")]
    Plan,
    /// Checks whether an update to a kernel would work. This changes nothing.
    #[serde(rename = "org.liveupdate.Admin.Check")]
    Check {
        /// The kernel.
        target: Target,
    },
    /// Checks, tries whether the kernel can be loaded, and asks all workloads to get ready.
    /// It returns when all are ready, or when all is undone. No kernel is loaded yet.
    #[serde(rename = "org.liveupdate.Admin.Prepare")]
    Prepare {
        /// The kernel.
        target: Target,
    },
    /// Loads the kernel, and asks all workloads to stand still.
    #[serde(rename = "org.liveupdate.Admin.Freeze")]
    Freeze,
    /// Jumps. There is a reply only if that is refused, and then all is undone.
    #[serde(rename = "org.liveupdate.Admin.Kexec")]
    Kexec,
    /// Ends an update before the jump: all workloads go on.
    #[serde(rename = "org.liveupdate.Admin.Cancel")]
    Cancel {
        /// The reason, for the timeline.
        reason: Option<String>,
        /// Whether it may be one that another program has begun in the kernel, or one that
        /// the agent does not know of any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        force: Option<bool>,
    },
    /// Runs all of an update: check, prepare, freeze, jump. With `more`, each line of the
    /// timeline is a reply. The connection ends with the jump.
    #[serde(rename = "org.liveupdate.Admin.Update")]
    Update {
        /// The kernel.
        target: Target,
        /// Where a picture of the update is written when it is over: an absolute path.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<String>,
    },
    /// Ends an update after the jump before its deadline. Sessions that nobody has
    /// claimed are finished, which releases them.
    #[serde(rename = "org.liveupdate.Admin.Finish")]
    Finish {
        /// Whether to release sessions that nobody has claimed. Otherwise they are an
        /// error.
        release_unclaimed: bool,
    },
    /// Releases a session that the agent holds for a workload that has left.
    #[serde(rename = "org.liveupdate.Admin.Release")]
    Release {
        /// The session's name.
        session: String,
        /// Whether it may be one of the previous kernel that nobody has claimed and that
        /// the agent knows nothing of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        force: Option<bool>,
    },
    /// Lists all sessions that the agent and the kernel know.
    #[serde(rename = "org.liveupdate.Admin.ListSessions")]
    ListSessions,
}

/// Refusals.
#[derive(Clone, Debug, PartialEq, Eq, ReplyError, introspect::ReplyError)]
#[zlink(crate = "zlink_core", interface = "org.liveupdate.Admin")]
pub enum Error {
    /// A check failed; nothing was changed.
    CheckFailed {
        /// The findings.
        report: Report,
    },
    /// A workload refused; all is undone.
    Vetoed {
        /// The workload.
        workload: String,
        /// The step that it refused.
        step: Step,
        /// The reason.
        reason: String,
    },
    /// A workload did not answer in time; all is undone.
    Late {
        /// The workload.
        workload: String,
        /// The step that it did not answer.
        step: Step,
        /// The time that it had, in milliseconds.
        deadline_ms: u64,
    },
    /// A workload's connection was lost; all is undone.
    Lost {
        /// The workload.
        workload: String,
        /// The step in which it was lost.
        step: Step,
    },
    /// The call is not legal in this phase.
    Illegal {
        /// The event that was asked for.
        event: String,
        /// The agent's phase.
        phase: Phase,
    },
    /// Somebody ended the update.
    Cancelled {
        /// The reason.
        reason: String,
    },
    /// The needs of the workloads cannot be met.
    BadPlan {
        /// The obstacles, in words.
        obstacles: Vec<String>,
    },
    /// The kernel refused; all is undone.
    Kernel {
        /// The call.
        call: String,
        /// The error number, positive; 0 if there is none.
        errno: i32,
        /// The error in words, with a remedy.
        message: String,
    },
    /// There are sessions left that nobody has claimed.
    Unclaimed {
        /// Their names.
        sessions: Vec<String>,
    },
    /// The previous kernel's record cannot be read, so nobody knows what would be ended.
    Unreadable {
        /// Why it cannot be read.
        reason: String,
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
                "workload '{workload}' did not answer {step} within {} s",
                Duration::from_millis(*deadline_ms).as_secs_f64()
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
            Self::Unreadable { reason } => write!(
                f,
                "the previous kernel's record cannot be read, and nothing of it was touched: {reason}"
            ),
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

/// The answer to [`Method::Plan`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
}

/// The answer to [`Method::Check`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Checked {
    /// The findings. A check that failed is no error of the call.
    pub report: Report,
}

/// The answer to [`Method::Prepare`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Prepared {
    /// The update's id.
    pub update: String,
    /// The checks that warn of something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnings: Option<Vec<Check>>,
}

/// One of the many answers to [`Method::Update`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Progress {
    /// The event.
    pub event: TimelineEvent,
}

/// The answer to [`Method::Finish`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Finished {
    /// Sessions that nobody had claimed and that are released.
    pub released: Vec<String>,
}

/// The answer to [`Method::ListSessions`].
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
    async fn cancel(
        &mut self,
        reason: Option<&str>,
        force: Option<bool>,
    ) -> zlink_core::Result<Result<(), Error>>;
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
    async fn release(
        &mut self,
        session: &str,
        force: Option<bool>,
    ) -> zlink_core::Result<Result<(), Error>>;
    async fn list_sessions(&mut self) -> zlink_core::Result<Result<Sessions, Error>>;
}
