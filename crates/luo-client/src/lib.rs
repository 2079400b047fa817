// SPDX-License-Identifier: MIT OR Apache-2.0
//! The library for programs whose state is to survive a kernel update.
//!
//! | module | contents |
//! |---|---|
//! | [`kernel`] | `/dev/liveupdate`, typed: [`Device`], [`Session`], [`Token`], errors with errno |
//! | [`agent`] | the live update agent `luod`: take part in updates, look at them, run them |
//! | [`memory`] | named regions of memory, and a manifest that finds them again |
//!
//! A program that is alone on its machine needs [`kernel`] only. Where several go
//! through an update together, each is a [`agent::Workload`]: the agent asks it to get
//! ready and to stand still, it may refuse, and after the jump it gets its sessions back.
//!
//! ```no_run
#![doc = include_str!("../examples/workload.rs")]
//! ```
//!
//! All calls block; there is no runtime and no thread. For an event loop there are
//! [`agent::Workload::try_event`] and its descriptor.
#![forbid(unsafe_code)]

pub mod agent;
pub mod kernel;
pub mod memory;

pub use kernel::{Device, Session, SessionName, Token};
