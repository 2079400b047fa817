// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the guest's programs, as static ones: its init, and for guests that run systemd
//! the agent and its command line.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde::Deserialize;

use crate::cache::Cache;
use crate::process;
use crate::progress::{Step, Unit};

const TARGET: &str = "x86_64-unknown-linux-gnu";

#[derive(Deserialize)]
struct Metadata {
    target_directory: PathBuf,
}

/// The programs that were built.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Where they are.
    pub folder: PathBuf,
}

impl Programs {
    /// The init of test machines, which is a part of the others, too.
    #[must_use]
    pub fn guest(&self) -> PathBuf {
        self.folder.join("luo-guest")
    }
}

/// Builds them.
///
/// # Errors
/// One does not compile.
pub fn build(cache: &Cache, repo: &Path) -> Result<Programs> {
    // A folder of its own: other flags would recompile the workspace each time.
    let target = target_directory(repo)?.join("guest");
    let mut command = Command::new("cargo");
    command.args([
        "build",
        "--release",
        "--package",
        "luo-guest",
        // Next to nothing beside the first: what they are made of is in it.
        "--package",
        "luod",
        "--package",
        "luoctl",
        "--target",
        TARGET,
        "--target-dir",
    ]);
    command.arg(&target).current_dir(repo);
    command
        // Each kexec copies them twice and adds up a checksum over them twice: they are small.
        .env(
            "RUSTFLAGS",
            "-C target-feature=+crt-static -C relocation-model=static -C force-unwind-tables=no",
        )
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    let mut step = Step::counting("compile the guest's programs", Unit::Things("crates"), None);
    process::cargo(&mut command, &cache.log("guest"), &mut step)?;
    step.done();
    Ok(Programs {
        folder: target.join(TARGET).join("release"),
    })
}

/// Cargo's folder of a checkout.
///
/// # Errors
/// Cargo does not run.
pub fn target_directory(repo: &Path) -> Result<PathBuf> {
    let metadata: Metadata = process::cargo_metadata(repo)?;
    Ok(metadata.target_directory)
}
