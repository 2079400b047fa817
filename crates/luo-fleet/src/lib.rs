// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many hosts: who may be updated when. A FleetLock server with a policy, without a state of its
//! own: that is in etcd, so several servers may run, and any of them may die.
//!
//! ```text
//!   host --pre-reboot--> server: mirror of etcd + policy + clock --> decide
//!                          |  permit: a transaction that compares the ledger, and puts
//!                          v          the host's record, the ledger and a line of the log
//!                         etcd ---watch--> the mirrors of all servers
//! ```
//!
//! A slot has no lease. A host that does not come back keeps it, so a rollout stops by itself.
//!
//! | module | contents |
//! |---|---|
//! | [`policy`] | what an administrator wants: the document |
//! | [`decide`] | who may go: pure functions |
//! | [`etcd`] | what is asked of etcd |
//! | [`config`] | the server's configuration |
//! | [`identity`] | who speaks: certificates and tokens |
//! | [`state`] | the fleet's state, which is in etcd alone |
//! | [`view`] | how the fleet stands, for those who look |
//! | [`server`] | what is served over HTTP |
//! | [`run`] | a server, from its configuration |
//! | [`seldom`] | lines of the log that are not repeated |
//! | [`dev`] | an etcd and hosts of its own, for trials, tests and figures |
//! | [`cli`], [`command`] | the command line, and what the commands do |
#![forbid(unsafe_code)]

pub mod cli;
pub mod command;
pub mod config;
pub mod decide;
pub mod dev;
pub mod etcd;
pub mod identity;
pub mod policy;
pub mod run;
pub mod seldom;
pub mod server;
pub mod state;
pub mod view;
