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
//!
//! | file | concern |
//! |---|---|
//! | `identity` | who a peer is, in terms that mean the same after a reboot |
//! | `book` | how many connections each user has |
//! | `door` | which socket a connection came to |
//! | `foreign` | which descriptors of peers are taken in |
//! | `socket` | reading and writing, within limits |
//! | `reply` | answers and refusals |
//! | `served` | a peer that is being served: its calls, answers, waits |
//! | `client`, `admin`, `status` | the calls of each interface |
//! | `connection` | a connection from its begin to its end |
//! | `metrics` | the metrics' socket |
//! | `listen` | the sockets, and accepting connections |

mod admin;
mod book;
mod client;
mod connection;
mod door;
mod foreign;
pub mod identity;
mod listen;
mod metrics;
mod reply;
mod served;
mod socket;
mod status;

pub use listen::{Sockets, serve};
