// SPDX-License-Identifier: MIT OR Apache-2.0
//! The doors: which socket a connection came to, and what it may ask for there.

use luo_varlink::interface::{self, Interface};

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

/// The interfaces that a door has.
pub(super) fn interfaces(door: Door) -> &'static [Interface] {
    match door {
        Door::Admin => &[interface::ADMIN, interface::STATUS],
        Door::Client => &[interface::CLIENT, interface::STATUS],
        Door::Status => &[interface::STATUS],
    }
}
