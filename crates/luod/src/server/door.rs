// SPDX-License-Identifier: MIT OR Apache-2.0
//! The doors: which socket a connection came to, and what it may ask for there.

use luo_varlink::interface::{self, Interface};

use crate::agent::{Agent, Unread};

/// Which socket a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// Root's.
    Admin,
    /// Workloads'.
    Client,
    /// Everybody's.
    Status,
}

impl Door {
    /// The books of the sockets of this door of which the agent wants to know whether all has
    /// been read. Nothing that is asked at everybody's door has a deadline.
    pub(super) fn unread(self, agent: &Agent) -> Option<&Unread> {
        match self {
            Self::Admin => Some(&agent.unread),
            Self::Client => Some(&agent.clients_unread),
            Self::Status => None,
        }
    }
}

/// The interfaces that a door has.
pub(super) fn interfaces(door: Door) -> &'static [Interface] {
    match door {
        Door::Admin => &[interface::ADMIN, interface::STATUS],
        Door::Client => &[interface::CLIENT, interface::STATUS],
        Door::Status => &[interface::STATUS],
    }
}
