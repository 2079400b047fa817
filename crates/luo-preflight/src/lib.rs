// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks before a live update. They change nothing.
//!
//! Readers gather the facts, and never change anything:
//!
//! | subject | reader | gives |
//! |---|---|---|
//! | the running kernel | [`system::System::running`] | [`running::Running`] |
//! | the kernel to jump into | [`image::read_file`] | [`image::Image`] |
//! | its initrd | [`initrd::read`] | [`initrd::Archive`] |
//! | what the boot loader would start | [`entry::named`], [`entry::default`] | [`entry::Entry`], [`entry::Chosen`] |
//! | a descriptor to be preserved | [`file::look`] | [`file::Facts`] |
//!
//! Pure functions judge the facts: [`update::checks`] all of them, and [`file::checks`]
//! those of a file by itself. Both give [`Check`]s, and [`report`] makes one report of
//! them. A check that failed means that an update would fail or lose something, and names a
//! remedy.
//!
//! This crate never opens `/dev/liveupdate`: one process at a time can have it, and
//! the first call on the device takes over the sessions of the previous kernel.
#![forbid(unsafe_code)]

pub mod abi;
pub mod addons;
mod check;
pub mod command_line;
pub mod dangers;
pub mod entry;
pub mod file;
pub mod guest_clock;
pub mod image;
pub mod initrd;
pub mod kconfig;
pub mod limits;
pub mod memfds;
pub mod memory;
pub mod running;
pub mod scratch;
pub mod small;
pub mod system;
pub mod target;
pub mod update;

pub use check::{Known, report};
pub use luo_varlink::{Check, CheckStatus, Report};
