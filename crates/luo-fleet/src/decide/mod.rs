// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may go: pure functions, without a clock and without I/O.
//!
//! | module | contents |
//! |---|---|
//! | [`record`] | what is known of a host |
//! | [`tally`] | what is known of all of them together, kept up record by record |
//! | [`decision`] | what is answered, and in which words |
//! | [`rules`] | the decision |
//! | `model` | tests: all histories of small fleets |

pub mod decision;
#[cfg(test)]
mod model;
pub mod record;
pub mod rules;
pub mod tally;
