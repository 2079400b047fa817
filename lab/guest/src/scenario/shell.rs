// SPDX-License-Identifier: MIT OR Apache-2.0
//! A shell on the console, for people.

use std::fs::{self, OpenOptions};
use std::process::Command;

use anyhow::{Context, Result};

use crate::init::Guest;

const BUSYBOX: &str = "/bin/busybox";

/// Runs a shell and switches the machine off when it exits.
pub(crate) fn run(_guest: &Guest) -> Result<()> {
    // Without the applets the shell still has its built-in commands.
    let _ = Command::new(BUSYBOX)
        .args(["--install", "-s", "/bin"])
        .status();
    // /dev/console cannot be a controlling terminal; what is behind it can.
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let terminal = match active.split_whitespace().next_back() {
        Some(name) => format!("/dev/{name}"),
        None => "/dev/console".to_owned(),
    };
    let console = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&terminal)
        .context(terminal)?;
    let status = Command::new(BUSYBOX)
        .args(["setsid", "-c", BUSYBOX, "sh"])
        .env("PATH", "/bin")
        .env("HOME", "/")
        .stdin(console.try_clone()?)
        .stdout(console.try_clone()?)
        .stderr(console)
        .status()
        .context(BUSYBOX)?;
    println!("luo-guest: the shell has ended: {status}");
    Ok(())
}
