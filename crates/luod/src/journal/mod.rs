// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the agent writes down, and counts.

pub mod history;
pub mod metrics;
pub mod notes;
