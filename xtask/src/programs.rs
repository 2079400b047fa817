// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs of this workspace that a command runs.

use std::env;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use luo_lab::cache::Cache;
use luo_lab::process;
use luo_lab::progress::{Step, Unit};

/// Has cargo say nothing of what it builds, unless somebody waits at a terminal for that: it takes
/// minutes.
pub(crate) fn quiet(cargo: &mut Command) {
    if !io::stderr().is_terminal() {
        cargo.arg("--quiet");
    }
}

/// Builds the programs of packages; answers with the folder they are in.
pub(crate) fn build(packages: &[&str]) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release"]);
    for package in packages {
        command.args(["--package", package]);
    }
    let title = format!("compile {}", packages.join(", "));
    let mut step = Step::counting(&title, Unit::Things("crates"), None);
    // Two commands that run at once do not write over each other's log.
    let log = Cache::open()?.log(&format!("programs-{}", packages.join("-")));
    process::cargo(&mut command, &log, &mut step)?;
    step.done();
    // This very program is in target/debug or target/release.
    let own = env::current_exe()?;
    let Some(target) = own.ancestors().nth(2) else {
        bail!("{} is in no target folder", own.display());
    };
    Ok(target.join("release"))
}
