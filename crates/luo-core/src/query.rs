// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Queries: where the machine is in an update, and which sessions, files and participants
//! there are.

mod entries;
mod info;
pub(crate) mod lists;
