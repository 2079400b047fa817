// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measured figures: what is made of them, and the page that shows them.
//!
//! - [`kernel`] has mainline's orchestrator and ours side by side.
//! - [`counts`] are the instructions that kernels may take.
//! - [`agent`] has what the agent takes for a crowd of workloads, beside what is promised.

pub mod agent;
pub mod counts;
pub mod kernel;
pub(crate) mod numbers;
