// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command: against a real agent under the simulator, alone, and its pictures.

mod alone;
mod book;
mod distribution;
mod documents;
mod machine;
mod pictures;
mod updates;
