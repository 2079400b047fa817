// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host for tests: it plays the kernel's part, counts everything it lends to
//! the engine, and fails where a test wants it to.

pub mod build;
pub mod host;
pub mod ledger;
pub mod memory;
pub mod script;

pub use build::{compat, handed, name};
pub use host::{TestFlb, TestHandler, TestHost};
pub use ledger::Counts;
pub use memory::Handed;
pub use script::Call;
