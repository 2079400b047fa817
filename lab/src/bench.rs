// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measured figures: what is made of them, and the page that shows them.
//!
//! - [`kernel`] has mainline's orchestrator and ours side by side.
//! - [`agent`] has what the agent takes for a crowd of workloads, beside what is promised.

pub mod agent;
pub mod kernel;
mod numbers;
