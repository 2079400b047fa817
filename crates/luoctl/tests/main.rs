// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command: against a real agent under the simulator, alone, and its pictures.

mod alone;
mod book;
mod called;
mod custody;
mod distribution;
mod documents;
mod endings;
mod fleet;
mod hanging;
mod histories;
mod machine;
mod many;
mod others;
mod over_the_jump;
mod pictures;
mod unreadable;
mod updates;
