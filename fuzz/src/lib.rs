// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the fuzz targets do with the bytes that they are given.
//!
//! | module | the bytes are |
//! |---|---|
//! | [`ioctl_arguments`] | ioctls of a program, with its memory |
//! | [`handover_blocks`] | changes of what a previous kernel left, or all of it |
//! | [`notes`] | what an eventfd or a timer has left |
//! | [`call_traces`] | calls of several clients, and what fails meanwhile |
//!
//! Each has a `run`, which panics if something is found and else says how far it
//! came. `cargo test` replays the seeds; `cargo xtask fuzz` looks for more.
#![forbid(unsafe_code)]
#![allow(
    clippy::result_large_err,
    reason = "the engine's errors name sessions and handlers, and are passed on as they are"
)]

pub mod call_traces;
pub mod handover_blocks;
pub mod ioctl_arguments;
pub mod notes;
mod queries;

use std::sync::OnceLock;

/// The variable that has a target say what it does, for a person who replays an input.
const SHOW: &str = "LUO_FUZZ_SHOW";

fn show(what: core::fmt::Arguments<'_>) {
    static WANTED: OnceLock<bool> = OnceLock::new();
    if *WANTED.get_or_init(|| std::env::var_os(SHOW).is_some()) {
        eprintln!("{what}");
    }
}
