// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host for tests and fuzzing: it plays the kernel's part, counts everything it
//! lends to the engine, and fails where a test wants it to.
//!
//! It stops with a panic where the engine breaks the protocol of its callbacks. It is
//! no example of a host: it has no programs, no descriptors and no memory of its own.
#![forbid(unsafe_code)]
#![allow(
    clippy::result_large_err,
    reason = "the engine's errors name sessions and handlers, and are passed on as they are"
)]
#![allow(
    clippy::new_without_default,
    reason = "what a test begins with is spelled out there"
)]

pub mod build;
mod calls;
pub mod host;
pub mod ledger;
pub mod memory;
pub mod script;
mod seal;
pub mod turns;

pub use build::{compat, handed, name};
pub use host::{TestFlb, TestHandler, TestHost};
pub use ledger::Counts;
pub use memory::Handed;
pub use script::Call;
pub use turns::Turns;
