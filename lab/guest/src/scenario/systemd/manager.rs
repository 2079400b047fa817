// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is asked of systemd, with its own programs.

use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// Our unit.
pub(super) const LUOD: &str = "luod.service";

/// Runs a program; gives its output as text, whatever its exit status is.
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<(Output, String)> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| program.to_owned())?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text += &String::from_utf8_lossy(&output.stderr);
    Ok((output, text.trim_end().to_owned()))
}

/// Runs a program that must succeed; gives its output.
pub(super) fn succeed(program: &str, arguments: &[&str]) -> Result<String> {
    let (output, text) = run(program, arguments)?;
    ensure!(
        output.status.success(),
        "{program} {}: {}\n{text}",
        arguments.join(" "),
        output.status
    );
    Ok(text)
}

pub(super) fn systemctl(arguments: &[&str]) -> Result<String> {
    succeed("systemctl", arguments)
}

/// A property of a unit.
pub(super) fn property(unit: &str, name: &str) -> Result<String> {
    let option = format!("--property={name}");
    systemctl(&["show", "--value", &option, unit])
}

/// luod's process.
pub(super) fn main_pid() -> Result<i32> {
    Ok(property(LUOD, "MainPID")?.parse()?)
}

/// Sends luod's process a signal.
pub(super) fn signal(signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(main_pid()?).context("luod does not run")?;
    Ok(kill_process(pid, signal)?)
}

/// The end of what a unit has said in this boot.
pub(super) fn journal(unit: &str, lines: u32) -> String {
    let lines = format!("--lines={lines}");
    let arguments = [
        "--unit",
        unit,
        "--boot",
        "--output=cat",
        "--no-pager",
        "--quiet",
        &lines,
    ];
    match run("journalctl", &arguments) {
        Ok((_, text)) => text,
        Err(why) => format!("{why:#}"),
    }
}
