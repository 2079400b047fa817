// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo deny`: licences, doubles and sources of all dependencies, as deny.toml says.
//!
//! The program that checks takes longer to compile than the lints of this workspace. So it
//! runs where it is there, and is else skipped; `cargo xtask test --all` compiles it into
//! the cache, once for each machine, and from then on it is there.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;
use luo_lab::cache::Cache;
use luo_lab::fetch::toolchain;

use super::cargo::cargo;

const PROGRAM: &str = "cargo-deny";
const VERSION: &str = "0.20.2";

/// The command that checks, or why there is none. `fetch`: the program is compiled if it
/// is not there.
///
/// # Errors
/// The program is to be compiled, and cannot be.
pub(super) fn command(cache: &Cache, repo: &Path, fetch: bool) -> Result<Result<Command, String>> {
    let cached = cache.path(format!("tools/{PROGRAM}-{VERSION}/bin"));
    let folder = if cached.join(PROGRAM).exists() || (fetch && !is_installed(repo)) {
        Some(toolchain::cargo_tool(cache, PROGRAM, PROGRAM, VERSION)?)
    } else if is_installed(repo) {
        None
    } else {
        let why = "cargo-deny is not installed: `cargo install --locked cargo-deny` takes some \
                   minutes; `cargo xtask test --all` does so by itself";
        return Ok(Err(why.to_owned()));
    };
    // Advisories come from a database that is fetched. What can be known without a network
    // is checked here; the lock file names all that is looked at.
    let arguments = ["deny", "--offline", "--locked", "check"];
    let mut command = cargo(repo, &arguments);
    command.args(["bans", "licenses", "sources"]);
    if let Some(folder) = folder {
        // Cargo looks for its subcommands in PATH.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut with = OsString::from(folder);
        with.push(":");
        with.push(path);
        command.env("PATH", with);
    }
    Ok(Ok(command))
}

fn is_installed(repo: &Path) -> bool {
    let mut command = cargo(repo, &["deny", "--version"]);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
