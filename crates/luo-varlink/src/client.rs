// SPDX-License-Identifier: MIT OR Apache-2.0
//! `org.liveupdate.Client`: what workloads say.
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
        /// 1 to 63 bytes; the policy says who may have which.
        workload: String,
        /// Workloads that must be there before this one, and stay longer.
        needs: Vec<String>,
    },
    /// Ends being a workload: its sessions are closed as far as the agent holds them.
    #[serde(rename = "org.liveupdate.Client.Unregister")]
    Unregister,
    /// Makes a session. Its descriptor comes with the reply; the agent keeps a copy.
    #[serde(rename = "org.liveupdate.Client.CreateSession")]
    CreateSession {
        /// 1 to 63 bytes; the policy says who may have which.
        name: String,
    },
    /// Gives the agent a copy of a session's descriptor again, after it was restarted.
    /// The descriptor comes with the call.
    #[serde(rename = "org.liveupdate.Client.AttachSession")]
    AttachSession {
        /// The session's name, as the kernel knows it.
        name: String,
    },
    /// The agent closes its copy. What the workload does not hold itself is released.
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
        /// Its token there.
        token: u64,
    },
    /// Waits for what is to be done next. A further call ends the wait, which is then
    /// answered without an event.
    #[serde(rename = "org.liveupdate.Client.NextEvent")]
    NextEvent,
    /// Answers `prepare` or `freeze`.
    #[serde(rename = "org.liveupdate.Client.Answer")]
    Answer {
        /// The update's id, from the event.
        update: String,
        /// What is answered.
        step: Step,
        /// Why not; none agrees.
        veto: Option<String>,
    },
    /// Leaves, once ready: the agent holds the sessions and agrees to the rest, until
    /// the same identity claims them.
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
    /// Serves again after an update: those who need it may go on.
    #[serde(rename = "org.liveupdate.Client.Restored")]
    Restored,
    /// Finishes a session of the previous kernel: what was not retrieved is released.
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
    /// The policy, or who it belongs to, forbids it.
    Denied {
        /// What is forbidden, and what would allow it.
        reason: String,
    },
    /// A name that cannot be one.
    BadName {
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody is connected as this workload.
    WorkloadTaken {
        /// The workload.
        workload: String,
    },
    /// First `Register`.
    NotRegistered,
    /// Not now: an update is under way.
    UpdateUnderWay {
        /// Where the agent is.
        phase: Phase,
    },
    /// Not now: there is nothing to be answered, left or restored.
    NotExpected {
        /// What was not expected, and why.
        reason: String,
    },
    /// There is no session of this name that is the caller's.
    NoSuchSession {
        /// The session.
        session: String,
    },
    /// A descriptor is missing, too many came, or it is not that session.
    BadDescriptor {
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel refused.
    Kernel {
        /// The call.
        call: String,
        /// Its error number, positive.
        errno: i32,
        /// In words, with what to do.
        message: String,
    },
    /// A limit of the policy or of the agent is reached.
    TooMany {
        /// Which.
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
                write!(f, "not now: an update is under way ({phase})")
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

/// What [`Method::Register`] answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Registered {
    /// Where the agent is.
    pub phase: Phase,
    /// Sessions that this workload can claim.
    pub claimable: Vec<String>,
}

/// What [`Method::Declare`] answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Declared {
    /// What the checks of this file have found.
    pub report: Report,
}

/// What [`Method::NextEvent`] answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Next {
    /// The event; none if the wait was ended by another call.
    pub event: Option<Event>,
}

/// What [`Method::Claim`] answers, with the descriptor.
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
    async fn finish_session(&mut self, name: &str) -> zlink_core::Result<Result<(), Error>>;
}
