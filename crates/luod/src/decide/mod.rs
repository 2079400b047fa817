// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is decided, apart from what is done: nothing here does I/O or waits.

pub mod config;
pub mod failed;
pub mod names;
pub mod plan;
pub mod policy;
pub mod record;
pub mod round;
