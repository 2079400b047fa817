// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `luoctl`: looks at the live update agent, and runs updates. It decides
//! nothing; the agent does.
//!
//! | module | contents |
//! |---|---|
//! | [`cli`], [`options`], [`command`] | one definition for the command line, the man pages and the completions; a file for each command |
//! | [`exit`], [`failure`] | exit codes; errors, with what to do next |
//! | [`document`] | the documents that `--json` writes; their schemas lie in `schema/` |
//! | [`fleet`] | the machine as one of a fleet: takes a slot, gives it back |
//! | [`graph`], [`timeline`] | pure functions that draw |
//! | [`output`], [`table`], [`text`] | lines and columns for people; `text` is that of `luo-timeline` |
//! | `holder` | who has the device, which luod may not see |
//! | [`man`] | the man pages |
//!
//! Enter at [`cli::Cli::run`].
#![forbid(unsafe_code)]

pub mod cli;
pub mod command;
pub mod document;
pub mod exit;
pub mod failure;
pub mod fleet;
pub mod graph;
mod holder;
pub mod interrupt;
pub mod man;
pub mod options;
pub mod output;
pub mod table;
pub mod timeline;

pub use luo_timeline::text;
