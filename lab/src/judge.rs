// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a machine has said, and whether that is what it should have said.

pub mod console;
pub mod timeline;
mod verdict;

pub use verdict::{Case, boots, cases};
