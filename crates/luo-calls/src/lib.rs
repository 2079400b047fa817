// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The calls of `/dev/liveupdate` and of a session's descriptor, once for every host
//! of the engine.
//!
//! A host hands over what a program called: a command and an address. What happens
//! then is here: the command is looked up in [`luo_abi::calls::CALLS`], the argument is
//! read by the rules of [`luo_abi::extend`], an operation of [`luo_core::ops`] is run,
//! and the program is answered.
//!
//! Enter here:
//!
//! - [`on_device`] and [`on_session`]: an ioctl.
//! - [`Instance`]: what one open of the device knows.
//! - [`close_session`]: the last close of a session's descriptor.
//! - [`Caller`]: what is wanted of the program that calls. A host implements it over its
//!   own way to reach a program's memory and descriptors.
//! - [`CallHost`]: what is wanted of a host beside [`luo_core::Host`].
//! - [`log`]: what every host says in its log; [`fdinfo`]: what it shows of a session.
//!
//! It decides nothing about what is preserved; that is the engine's. It knows no device
//! node and no file: whom its mode admits, and how a descriptor is made, is the host's.
//!
//! The kernel compiles these very files, so they use `core`, zerocopy, `luo-abi` and
//! `luo-core` only, never panic, and ask for no memory.
#![cfg_attr(not(CONFIG_LIVEUPDATE_RUST), no_std)] // The kernel's build says so itself.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unreachable,
    clippy::todo
)]
#![allow(
    clippy::result_large_err,
    reason = "an error names sessions and handlers, and there is no heap to box it on"
)]

mod caller;
mod dependency;
mod device;
mod dispatch;
pub mod fdinfo;
mod host;
mod instance;
mod list;
pub mod log;
mod request;
mod session;

pub use caller::{Caller, Identity};
pub use dispatch::{on_device, on_session};
pub use host::{CallHost, Level, LINES, LINES_SECONDS, OPEN_WORDS};
pub use instance::Instance;
pub use session::close_session;
