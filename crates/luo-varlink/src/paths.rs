// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the sockets are.

use std::path::{Path, PathBuf};

/// The folder of the sockets.
pub const RUNTIME: &str = "/run/luod";

/// The variable that names another folder, for tests: there is one agent for a kernel.
pub const RUNTIME_VARIABLE: &str = "LUOD_RUNTIME_DIRECTORY";

/// The socket of workloads.
pub const CLIENT: &str = "client";

/// The socket of administrators.
pub const ADMIN: &str = "admin";

/// The socket that everybody can connect to, to look.
pub const STATUS: &str = "status";

/// The socket of Prometheus. It speaks HTTP.
pub const METRICS: &str = "metrics";

/// The folder of the sockets: the one that the environment names, or [`RUNTIME`].
#[must_use]
pub fn runtime() -> PathBuf {
    std::env::var_os(RUNTIME_VARIABLE).map_or_else(|| Path::new(RUNTIME).into(), PathBuf::from)
}
