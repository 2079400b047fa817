// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signals to the processes of a guest.

use anyhow::{Context, Result};
use luo_scenes::stage::until;
use rustix::process::{Pid, Signal, kill_process};

/// Sends a signal to a process.
pub(super) fn send(process: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(process.try_into()?).context("its number")?;
    Ok(kill_process(pid, signal)?)
}

/// Kills a process at once.
pub(super) fn kill(process: u32) -> Result<()> {
    send(process, Signal::KILL)?;
    let path = format!("/proc/{process}/stat");
    until("the end of a process", || {
        let stat = std::fs::read_to_string(&path).unwrap_or_default();
        Ok(stat.is_empty() || stat.contains(") Z "))
    })
}
