// SPDX-License-Identifier: MIT OR Apache-2.0
//! `org.liveupdate.Status`: what everybody may see. Changes nothing.

use serde::{Deserialize, Serialize};
use zlink_core::introspect::{self, Type};
use zlink_core::{ReplyError, proxy};

use crate::types::{HistoryEntry, Status, TimelineEvent};

/// The interface's name.
pub const INTERFACE: &str = "org.liveupdate.Status";

/// The calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", content = "parameters")]
pub enum Method {
    /// How the agent and the machine stand.
    #[serde(rename = "org.liveupdate.Status.GetStatus")]
    GetStatus,
    /// The last updates, the newest first.
    #[serde(rename = "org.liveupdate.Status.GetHistory")]
    GetHistory {
        /// So many at most.
        most: u32,
    },
    /// With `more`: each line of the timeline, as it happens. First comes one that says
    /// where the agent is now.
    #[serde(rename = "org.liveupdate.Status.Watch")]
    Watch,
}

/// Refusals.
#[derive(Clone, Debug, PartialEq, Eq, ReplyError, introspect::ReplyError)]
#[zlink(crate = "zlink_core", interface = "org.liveupdate.Status")]
pub enum Error {
    /// Too many watch already, or the watcher did not keep up.
    TooMany {
        /// Which limit.
        limit: String,
    },
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooMany { limit } => write!(f, "a limit is reached: {limit}"),
        }
    }
}

impl core::error::Error for Error {}

/// What [`Method::GetStatus`] answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Current {
    /// The status.
    pub status: Status,
}

/// What [`Method::GetHistory`] answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct History {
    /// The updates.
    pub updates: Vec<HistoryEntry>,
}

/// What [`Method::Watch`] answers, again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Watched {
    /// What happened.
    pub event: TimelineEvent,
}

/// The calls, as methods of a connection.
#[expect(missing_docs, reason = "the calls are documented at `Method`")]
#[proxy(interface = "org.liveupdate.Status", crate = "zlink_core")]
pub trait StatusCalls {
    async fn get_status(&mut self) -> zlink_core::Result<Result<Current, Error>>;
    async fn get_history(&mut self, most: u32) -> zlink_core::Result<Result<History, Error>>;
    #[zlink(more)]
    async fn watch(
        &mut self,
    ) -> zlink_core::Result<
        impl futures_core::Stream<Item = zlink_core::Result<Result<Watched, Error>>>,
    >;
}
