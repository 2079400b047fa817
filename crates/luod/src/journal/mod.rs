// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the agent writes down.
//!
//! | file | concern |
//! |---|---|
//! | `notes` | for the agent itself, if it is started anew in the same boot |
//! | `history` | the updates that are over, for administrators |
//! | `metrics` | what is counted, for Prometheus |

pub mod history;
pub mod metrics;
pub mod notes;
