// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be told before a live update, without changing anything.
//!
//! Readers gather what there is to know, and never change anything:
//!
//! | what | reader | gives |
//! |---|---|---|
//! | the running kernel | [`system::System::running`] | [`running::Running`] |
//! | the kernel to jump into | [`image::read_file`] | [`image::Image`] |
//! | a descriptor to be preserved | [`file::look`] | [`file::Facts`] |
//!
//! What is decided from that is pure: [`update::checks`] takes all of it, and
//! [`file::checks`] a file by itself. Both give [`Check`]s, of which [`report`] makes what
//! callers are answered. A check that failed means that an update would fail or lose
//! something; it says what to do.
//!
//! This crate never opens `/dev/liveupdate`: one process at a time can have it, and
//! the first open takes over what the previous kernel left.
#![forbid(unsafe_code)]

mod check;
pub mod command_line;
pub mod file;
pub mod image;
pub mod kconfig;
pub mod limits;
pub mod memory;
pub mod running;
pub mod scratch;
pub mod system;
pub mod target;
pub mod update;

pub use check::{Known, report};
pub use luo_varlink::{Check, CheckStatus, Report};
