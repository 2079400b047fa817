// SPDX-License-Identifier: MIT OR Apache-2.0
//! `org.liveupdate.Client`: the calls of workloads.
//!
//! A connection is one workload from [`Method::Register`] on. Calls are answered in
//! their order. Descriptors travel with the reply, or the call, alone: index 0.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};
use zlink_core::introspect::{self, Type};
use zlink_core::{ReplyError, proxy};

use crate::types::{Event, Phase, Report, Step};

/// The interface's name.
pub const INTERFACE: &str = "org.liveupdate.Client";

/// The calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", content = "parameters")]
pub enum Method {
    /// This connection is the workload of that name, which needs the others. The same
    /// identity may take its workload over again from a connection that is gone.
    #[serde(rename = "org.liveupdate.Client.Register")]
    Register {
        /// The name, of 1 to 63 bytes; the policy says which identity may have it.
        workload: String,
        /// Workloads that this one needs: they are prepared and restored before it, and
        /// frozen after it.
        needs: Vec<String>,
    },
    /// Ends the registration. The agent closes its copies of the workload's sessions.
    #[serde(rename = "org.liveupdate.Client.Unregister")]
    Unregister,
    /// Makes a session. Its descriptor comes with the reply; the agent keeps a copy.
    #[serde(rename = "org.liveupdate.Client.CreateSession")]
    CreateSession {
        /// The name, of 1 to 63 bytes; the policy says which identity may have it.
        name: String,
    },
    /// Gives the agent a copy of a session's descriptor again, after it was restarted.
    /// The descriptor comes with the call.
    #[serde(rename = "org.liveupdate.Client.AttachSession")]
    AttachSession {
        /// The session's name, as the kernel knows it.
        name: String,
    },
    /// Has the agent close its copy of a session. If the workload has no descriptor of it
    /// either, its files are released.
    #[serde(rename = "org.liveupdate.Client.DropSession")]
    DropSession {
        /// The session's name.
        name: String,
    },
    /// Says that a file is going to be preserved, so that checks look at it: now, and
    /// before each update. The descriptor comes with the call; the agent keeps a copy
    /// until the session is dropped.
    #[serde(rename = "org.liveupdate.Client.Declare")]
    Declare {
        /// The session it is going to be in.
        session: String,
        /// The token that the file is going to have there.
        token: u64,
    },
    /// Waits for the next event. A further call of the connection ends the wait, which is
    /// then answered without an event.
    #[serde(rename = "org.liveupdate.Client.NextEvent")]
    NextEvent,
    /// Answers `prepare` or `freeze`.
    #[serde(rename = "org.liveupdate.Client.Answer")]
    Answer {
        /// The update's id, from the event.
        update: String,
        /// The step that is answered.
        step: Step,
        /// The reason of a veto; without one the workload agrees.
        veto: Option<String>,
    },
    /// Leaves the sessions with the agent, which holds them until the same identity claims
    /// them: in an update once the workload is ready, and the agent agrees to the rest for
    /// it; or while no update is under way, and then they go through each update that
    /// comes, and nobody waits for the workload after it.
    #[serde(rename = "org.liveupdate.Client.Detach")]
    Detach,
    /// Takes a session back, from the previous kernel or from the agent's custody. It
    /// waits until the workloads that this one needs serve again. The descriptor comes
    /// with the reply.
    #[serde(rename = "org.liveupdate.Client.Claim")]
    Claim {
        /// The session's name.
        session: String,
    },
    /// Says that the workload serves again after an update. Workloads that need it may go
    /// on then.
    #[serde(rename = "org.liveupdate.Client.Restored")]
    Restored,
    /// Says something about the workload for people who look at it, in place of what it said
    /// before. It stands in the status, and in the history when the workload serves again.
    #[serde(rename = "org.liveupdate.Client.Describe")]
    Describe {
        /// The words. Those beyond [`crate::limits::MAX_REASON`] bytes are cut.
        about: String,
    },
    /// Finishes a session of the previous kernel: files that were not retrieved are
    /// released.
    #[serde(rename = "org.liveupdate.Client.FinishSession")]
    FinishSession {
        /// The session's name.
        name: String,
    },
}

/// Refusals.
#[derive(Clone, Debug, PartialEq, Eq, ReplyError, introspect::ReplyError)]
#[zlink(crate = "zlink_core", interface = "org.liveupdate.Client")]
pub enum Error {
    /// The policy forbids it, or it belongs to another identity.
    Denied {
        /// What is forbidden, and what would allow it.
        reason: String,
    },
    /// A text is no name.
    BadName {
        /// The fault, in words.
        reason: String,
    },
    /// Another connection is this workload.
    WorkloadTaken {
        /// The workload.
        workload: String,
    },
    /// The connection is no workload: call `Register` first.
    NotRegistered,
    /// The call is not allowed now, because an update is under way.
    UpdateUnderWay {
        /// The agent's phase.
        phase: Phase,
    },
    /// The call is not expected now: there is nothing to answer, to leave or to restore.
    NotExpected {
        /// The call that was not expected, and why.
        reason: String,
    },
    /// There is no session of this name that is the caller's.
    NoSuchSession {
        /// The session.
        session: String,
    },
    /// A descriptor is missing, too many came, or it is not that session.
    BadDescriptor {
        /// The fault, in words.
        reason: String,
    },
    /// The kernel refused.
    Kernel {
        /// The call.
        call: String,
        /// The error number, positive.
        errno: i32,
        /// The error in words, with a remedy.
        message: String,
    },
    /// A limit of the policy or of the agent is reached.
    TooMany {
        /// The limit, in words.
        limit: String,
    },
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Denied { reason } => write!(f, "denied: {reason}"),
            Self::BadName { reason } => write!(f, "not a name: {reason}"),
            Self::WorkloadTaken { workload } => {
                write!(f, "somebody is connected as workload '{workload}' already")
            }
            Self::NotRegistered => f.write_str("the connection is not registered as a workload"),
            Self::UpdateUnderWay { phase } => {
                write!(
                    f,
                    "not now: an update is under way ({phase}); try again when it is over"
                )
            }
            Self::NotExpected { reason } => write!(f, "not expected: {reason}"),
            Self::NoSuchSession { session } => {
                write!(f, "there is no session '{session}' of this workload")
            }
            Self::BadDescriptor { reason } => write!(f, "a wrong descriptor: {reason}"),
            Self::Kernel {
                call,
                errno,
                message,
            } => write!(f, "{call}: {message} (errno {errno})"),
            Self::TooMany { limit } => write!(f, "a limit is reached: {limit}"),
        }
    }
}

impl core::error::Error for Error {}

/// The answer to [`Method::Register`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Registered {
    /// The agent's phase.
    pub phase: Phase,
    /// Sessions that this workload can claim.
    pub claimable: Vec<String>,
}

/// The answer to [`Method::Declare`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Declared {
    /// The findings of the checks of this file.
    pub report: Report,
}

/// The answer to [`Method::NextEvent`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Next {
    /// The event; `None` if another call has ended the wait.
    pub event: Option<Event>,
}

/// The answer to [`Method::Claim`], beside the descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Claimed {
    /// Whether the session came from the previous kernel: its files are to be
    /// retrieved. Else it is one that was left in custody: files may be added.
    pub incoming: bool,
}

/// The calls, as methods of a connection.
#[expect(missing_docs, reason = "the calls are documented at `Method`")]
#[proxy(interface = "org.liveupdate.Client", crate = "zlink_core")]
pub trait Client {
    async fn register(
        &mut self,
        workload: &str,
        needs: Vec<String>,
    ) -> zlink_core::Result<Result<Registered, Error>>;
    async fn unregister(&mut self) -> zlink_core::Result<Result<(), Error>>;
    #[zlink(return_fds)]
    async fn create_session(
        &mut self,
        name: &str,
    ) -> zlink_core::Result<(Result<(), Error>, Vec<OwnedFd>)>;
    async fn attach_session(
        &mut self,
        name: &str,
        #[zlink(fds)] fds: Vec<OwnedFd>,
    ) -> zlink_core::Result<Result<(), Error>>;
    async fn drop_session(&mut self, name: &str) -> zlink_core::Result<Result<(), Error>>;
    async fn declare(
        &mut self,
        session: &str,
        token: u64,
        #[zlink(fds)] fds: Vec<OwnedFd>,
    ) -> zlink_core::Result<Result<Declared, Error>>;
    async fn next_event(&mut self) -> zlink_core::Result<Result<Next, Error>>;
    async fn answer(
        &mut self,
        update: &str,
        step: Step,
        veto: Option<&str>,
    ) -> zlink_core::Result<Result<(), Error>>;
    async fn detach(&mut self) -> zlink_core::Result<Result<(), Error>>;
    #[zlink(return_fds)]
    async fn claim(
        &mut self,
        session: &str,
    ) -> zlink_core::Result<(Result<Claimed, Error>, Vec<OwnedFd>)>;
    async fn restored(&mut self) -> zlink_core::Result<Result<(), Error>>;
    async fn describe(&mut self, about: &str) -> zlink_core::Result<Result<(), Error>>;
    async fn finish_session(&mut self, name: &str) -> zlink_core::Result<Result<(), Error>>;
}
