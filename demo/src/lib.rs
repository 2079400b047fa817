// SPDX-License-Identifier: MIT OR Apache-2.0
//! A service that survives the kernel under it, for a demonstration.
//!
//! - [`service`]: what it does on both sides of the update, alone with the kernel.
//! - [`workload`]: the same as a workload of the agent: `luoctl update` updates.
//! - [`Stage`]: where it runs: a test machine, or the simulator (the program
//!   `luo-demo`).
#![forbid(unsafe_code)]

pub mod service;
mod stage;
mod store;
mod terminal;
pub mod workload;

pub use stage::Stage;
pub use terminal::Terminal;
