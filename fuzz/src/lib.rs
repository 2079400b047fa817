// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the fuzz targets do with the bytes that they are given.
//!
//! | module | the bytes are |
//! |---|---|
//! | [`ioctl_arguments`] | ioctls of a program, with its memory |
//! | [`handover_blocks`] | changes of what a previous kernel left, or all of it |
//! | [`notes`] | what small files have left: eventfds, timers, pipes, virtual machines and their memory |
//! | [`guest_states`] | what a guest has left, without its RAM |
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
pub mod guest_states;
pub mod handover_blocks;
pub mod ioctl_arguments;
pub mod notes;
mod queries;
mod show;
