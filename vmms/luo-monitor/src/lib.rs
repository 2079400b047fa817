// SPDX-License-Identifier: MIT OR Apache-2.0
//! What monitors of virtual machines have in common whose guests go over a live update as
//! workloads of luod, whoever emulates them.
//!
//! | module | concern |
//! |---|---|
//! | [`workload`] | becoming a workload, claiming what came over the jump, and giving it back |
//! | [`serve`] | the life of the workload between two updates, over a [`serve::Guest`] |
//! | [`carry`] | a state in preserved memory, with its [`head`] |
//! | [`point`] | the steps, for the log and for tests; [`told`]: who is told of them |
//! | [`exit`] | exit codes, and the errors that lead to them |
#![forbid(unsafe_code)]

pub mod carry;
pub mod exit;
pub mod head;
pub mod point;
pub mod serve;
pub mod told;
pub mod workload;
