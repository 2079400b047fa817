// SPDX-License-Identifier: GPL-2.0-only
//! The file handlers that are written in Rust, one file each.

#[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
pub(crate) mod memfd;
