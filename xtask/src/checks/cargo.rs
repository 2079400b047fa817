// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cargo, as the checks call it.

use std::path::Path;
use std::process::Command;

pub(crate) fn cargo(repo: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command
        .args(arguments)
        .current_dir(repo)
        .env("CARGO_TERM_COLOR", "never");
    command
}
