// SPDX-License-Identifier: MIT OR Apache-2.0
//! The demonstration as a program of its own, for `luo-sim run -- luo-demo`.
//!
//! It serves, jumps, and is started again by the next boot: which one it is tells
//! `/sys/kernel/liveupdate/state`. Marks and sentences go to standard output.
#![forbid(unsafe_code)]

use std::fs;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use luo_demo::{Terminal, service};

/// How it is run.
const USAGE: &str = "luo-sim run --boots 2 -- luo-demo";

fn main() -> ExitCode {
    if let Some(word) = std::env::args().nth(1) {
        let is_asked = matches!(word.as_str(), "-h" | "--help");
        eprintln!("luo-demo takes no arguments, and a simulated machine: {USAGE}");
        return ExitCode::from(if is_asked { 0 } else { 2 });
    }
    let stage = Terminal::default();
    if let Err(why) = run(&stage) {
        eprintln!("luo-demo: {why:#}");
        return ExitCode::FAILURE;
    }
    if stage.has_failed() {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run(stage: &Terminal) -> Result<()> {
    let state = fs::read_to_string("/sys/kernel/liveupdate/state")
        .map_err(|why| anyhow!("there is no live update here ({why}); run this as: {USAGE}"))?;
    match state.trim() {
        "updated" => service::after(stage),
        _ => service::before(stage),
    }
}
