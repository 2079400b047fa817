// SPDX-License-Identifier: MIT OR Apache-2.0
//! The demonstration as a program of its own, for `luo-sim run -- luo-demo`.
//!
//! It serves, jumps, and is started again by the next boot: which one it is tells
//! `/sys/kernel/liveupdate/state`. Marks and sentences go to standard output.
#![forbid(unsafe_code)]

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use luo_demo::{Terminal, service};

fn main() -> ExitCode {
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
        .context("no live update here; run this as: luo-sim run --boots 2 -- luo-demo")?;
    match state.trim() {
        "updated" => service::after(stage),
        _ => service::before(stage),
    }
}
