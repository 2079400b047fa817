// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each end of a guest is told, by the exit code, in words, and to the agent.

use anyhow::{Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::bare::{self, Act};
use crate::monitor::Monitor;

pub(super) fn run(monitor: &mut Monitor, _boot: usize) -> Result<()> {
    monitor.begin()?;
    for (act, code, words) in [
        (Act::PowerOff, 0, "the guest was shut down"),
        (Act::Reset, 0, "the guest was reset"),
        (Act::Fault, 70, "three faults in a row"),
    ] {
        let program = monitor.stage.folder().join("bare");
        bare::write(&program, Some((0x1000, act)))?;
        ends(monitor, code, words)?;
    }
    bare::write(&monitor.stage.folder().join("bare"), None)?;
    monitor.start()?;
    monitor.runs()?;
    monitor.goes_on()?;
    let pid = Pid::from_raw(monitor.process()?.try_into()?);
    if let Some(pid) = pid {
        kill_process(pid, Signal::TERM)?;
    }
    is_told(monitor, 0, "ended by a signal")
}

fn ends(monitor: &Monitor, code: i32, words: &str) -> Result<()> {
    monitor.start()?;
    is_told(monitor, code, words)
}

fn is_told(monitor: &Monitor, code: i32, words: &str) -> Result<()> {
    let status = monitor.ended()?;
    ensure!(status.code() == Some(code), "{status}\n{}", monitor.log());
    ensure!(monitor.lines(words) == 1, "{words}: {}", monitor.log());
    monitor.is_forgotten()
}
