// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several workloads and the agent go through updates together, and something goes
//! wrong: what the agent promises, as scenes that run in the simulator and in a virtual
//! machine alike.
//!
//! - [`member`] is a workload: it writes all the time, and knows after an update
//!   whether each word is there.
//! - [`stage`] starts the agent and members, and waits for their words.
//! - [`scene`] is the table of scenes.
//! - [`crowd`] is many workloads at once: what the agent takes for them.
//!
//! A scene is a program that is run at each boot of a machine. It writes one line a case;
//! its caller judges by those lines and by the exit code.
#![forbid(unsafe_code)]

pub mod command;
pub mod crowd;
pub mod member;
pub mod scene;
pub mod stage;
