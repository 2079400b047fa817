// SPDX-License-Identifier: MIT OR Apache-2.0
//! `org.liveupdate.Status`: calls that everybody may make. They change nothing.

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
        /// The most updates to list.
        most: u32,
    },
    /// With `more`: each line of the timeline, as it happens. The first line tells the
    /// present phase.
    #[serde(rename = "org.liveupdate.Status.Watch")]
    Watch,
}

/// Refusals.
#[derive(Clone, Debug, PartialEq, Eq, ReplyError, introspect::ReplyError)]
#[zlink(crate = "zlink_core", interface = "org.liveupdate.Status")]
pub enum Error {
    /// Too many watch already, or the watcher did not keep up.
    TooMany {
        /// The limit, in words.
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

/// The answer to [`Method::GetStatus`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Current {
    /// The status.
    pub status: Status,
}

/// The answer to [`Method::GetHistory`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct History {
    /// The updates.
    pub updates: Vec<HistoryEntry>,
    /// What of the history cannot be read, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problems: Option<Vec<String>>,
    /// How many of the updates are in the agent's memory only: the disk does not take them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwritten: Option<i64>,
    /// How many older updates were asked for and are left out, because the answer would be too
    /// long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<i64>,
    /// Whether the newest line cannot be read: an update, or the end of one, may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsure: Option<bool>,
    /// Why the previous kernel's record cannot be read, if that is so: what is not over in the
    /// history is not under way then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// One of the many answers to [`Method::Watch`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
#[zlink(crate = "zlink_core")]
pub struct Watched {
    /// The event.
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
