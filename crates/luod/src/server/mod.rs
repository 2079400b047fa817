// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sockets: who may connect to which, and a task for each connection, so that no
//! peer waits for another.
//!
//! | socket | mode | interfaces |
//! |---|---|---|
//! | `admin` | root, 0600 | Admin, Status |
//! | `client` | group `luo`, 0660 | Client, Status |
//! | `status` | everyone, 0666 | Status |
//! | `metrics` | everyone, 0666 | Prometheus' text over HTTP |

mod admin;
mod book;
mod client;
mod connection;
mod foreign;
pub mod identity;
mod listen;
mod metrics;
mod quiet;
mod reply;
mod socket;
mod status;

pub use listen::{Sockets, serve};

/// Which socket a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Root's.
    Admin,
    /// Workloads'.
    Client,
    /// Everybody's.
    Status,
}
