// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the guest's init as a static program.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::cache::Cache;
use crate::progress::{Step, Unit};
use crate::run;

const TARGET: &str = "x86_64-unknown-linux-gnu";

#[derive(Deserialize)]
struct Metadata {
    target_directory: PathBuf,
}

/// Builds `luo-guest` and gives the program's path.
///
/// # Errors
/// It does not compile.
pub fn build(cache: &Cache, repo: &Path) -> Result<PathBuf> {
    // A folder of its own: other flags would recompile the workspace each time.
    let target = target_directory(repo)?.join("guest");
    let mut command = Command::new("cargo");
    command.args([
        "build",
        "--release",
        "--package",
        "luo-guest",
        "--target",
        TARGET,
        "--target-dir",
    ]);
    command.arg(&target).current_dir(repo);
    command
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    let mut step = Step::counting("compile the guest's init", Unit::Things("crates"), None);
    run::cargo(&mut command, &cache.log("guest"), &mut step)?;
    step.done();
    Ok(target.join(TARGET).join("release/luo-guest"))
}

fn target_directory(repo: &Path) -> Result<PathBuf> {
    let mut command = Command::new("cargo");
    command
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(repo);
    let metadata: Metadata = serde_json::from_str(&run::output(&mut command)?)
        .context("cargo metadata says nothing useful")?;
    Ok(metadata.target_directory)
}
