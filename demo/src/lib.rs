// SPDX-License-Identifier: MIT OR Apache-2.0
//! A service that survives the kernel under it, for a demonstration.
//!
//! - [`service`]: what it does on both sides of the update.
//! - [`Stage`]: where it runs: a test machine ([`service`] is run by its init), or
//!   the simulator (the program `luo-demo`).
#![forbid(unsafe_code)]

pub mod service;
mod stage;
mod store;

pub use stage::Stage;
