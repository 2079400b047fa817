// SPDX-License-Identifier: MIT OR Apache-2.0
//! The live update agent: takes several workloads through one update together, so that
//! it can be refused, undone and explained.
//!
//! Each part is a folder, and uses only those above it in this table:
//!
//! | folder | concern |
//! |---|---|
//! | [`decide`] | what is decided, without I/O: names, policy, plan, round, record |
//! | [`journal`] | what is written down: notes, history, metrics |
//! | [`aside`] | threads for what may have to be waited for: closing what is others' |
//! | [`manager`] | the service manager: its descriptor store, its shutdown, a small one of our own |
//! | [`kernel`] | talks to `/dev/liveupdate` and kexec, on a thread of its own |
//! | [`agent`] | holds workloads and sessions; runs updates |
//! | [`server`] | talks Varlink with peers, a task each |
//! | `threads` | all threads that there will ever be, made at the start |
//! | `way_out` | what to do where luod cannot begin, or cannot read its files |
//! | [`command`] | reads the configuration, puts the parts together, runs them |
//!
//! Enter at [`command`], or at [`agent`]; the crate `luo-varlink` is what peers see.
#![forbid(unsafe_code)]

pub mod agent;
pub mod aside;
pub mod command;
pub mod decide;
pub mod journal;
pub mod kernel;
pub mod manager;
#[cfg(test)]
mod rooms;
pub mod server;
mod threads;
mod way_out;
