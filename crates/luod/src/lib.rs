// SPDX-License-Identifier: MIT OR Apache-2.0
//! The live update agent: takes several workloads through one update together, so that
//! it can be refused, undone and explained.
//!
//! What is decided is apart from what is done:
//!
//! | module | decides |
//! |---|---|
//! | [`names`], [`policy`], [`identity`] | who may own what |
//! | [`plan`], [`round`] | who is asked when, and what an answer means |
//! | [`record`] | what one agent leaves for the next |
//! | [`config`] | deadlines, and how the machine jumps |
//!
//! | module | does |
//! |---|---|
//! | [`agent`] | holds workloads and sessions; runs updates |
//! | [`kernel`] | talks to `/dev/liveupdate` and kexec, on a thread of its own |
//! | [`server`] | talks Varlink with peers, a task each |
//! | [`shutdown`] | sees whether the agent outlives one |
//! | [`store`], [`supervise`] | the service manager's descriptor store, and a small manager |
//! | [`notes`], [`history`], [`metrics`] | what is written down |
//!
//! Enter at [`command`], or at [`agent`]; what peers see is the crate `luo-varlink`.
#![forbid(unsafe_code)]

pub mod agent;
pub mod command;
pub mod decide;
pub mod journal;
pub mod kernel;
pub mod manager;
pub mod server;

// The names by which the rest still calls them.
pub use decide::{config, names, plan, policy, record, round};
pub use journal::{history, metrics, notes};
pub use manager::{shutdown, store, supervise};
pub use server::identity;
