// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask man`: what is published out of the definitions of command lines and of
//! documents. The test that keeps it in step writes it, too.

use std::env;
use std::process::Command;

use anyhow::{Context, Result};

pub(crate) fn run() -> Result<bool> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--quiet", "--package", "luoctl"]);
    command.args(["--test", "luoctl", "published"]);
    let status = command.env("LUO_UPDATE", "1").status();
    let status = status.context("cargo test")?;
    if status.success() {
        println!("docs/man, dist/completions and crates/luoctl/schema are in step");
    }
    Ok(status.success())
}
