// SPDX-License-Identifier: MIT OR Apache-2.0
//! The files and numbers that the agent writes down.
//!
//! | file | concern |
//! |---|---|
//! | `regular` | opens files that administrators name, if they are files |
//! | `clock` | the clock of an update, which nobody sets |
//! | `notes` | for the agent itself, if it is started anew in the same boot |
//! | `picture` | an update that is over as a picture, where that is wanted |
//! | `history` | the updates that are over, for administrators |
//! | `metrics` | counters and gauges, for Prometheus |
//! | `log` | the log, whose reader keeps nobody waiting |
//! | `quiet` | the log, where peers decide how often something is said |

pub mod clock;
pub mod history;
pub(crate) mod log;
pub mod metrics;
pub mod notes;
pub mod picture;
pub(crate) mod quiet;
pub mod regular;
