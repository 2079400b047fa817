// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each end of a guest is told, by the exit code, in words, and to the agent. That what it says
//! cannot be written is none.

use anyhow::{Result, ensure};
use luo_scenes::stage::within;
use rustix::process::{Pid, Signal, kill_process};

use crate::bare::{self, Act};
use crate::monitor::{Monitor, Words};
use crate::patience::PATIENCE;

pub(super) fn run(monitor: &mut Monitor, _boot: usize) -> Result<()> {
    monitor.begin()?;
    for (act, code, words) in [
        (Act::PowerOff, 0, "the guest was shut down"),
        (Act::Reset, 0, "the guest was reset"),
        (Act::Fault, 70, "three faults in a row"),
    ] {
        let program = monitor.stage.folder().join("bare");
        bare::write(&program, 1, Some((0x1000, act)))?;
        ends(monitor, code, words)?;
    }
    bare::write(&monitor.stage.folder().join("bare"), 1, None)?;
    monitor.words = Words::FullPipe;
    monitor.start()?;
    within(PATIENCE, "that somebody waits for the pipe", || {
        waits_for_a_write(monitor.process()?)
    })?;
    called_off(monitor, 1)?;
    is_sent_away(monitor)?;
    monitor.words = Words::FullDisk;
    monitor.start()?;
    within(PATIENCE, "that the loss is told", || {
        Ok(monitor.lines("of what the guest said are lost: No space left") >= 1)
    })?;
    called_off(monitor, 2)?;
    is_sent_away(monitor)?;
    monitor.words = Words::Kept;
    monitor.forget_said()?;
    monitor.start()?;
    monitor.runs()?;
    monitor.goes_on()?;
    is_sent_away(monitor)
}

/// A guest stands still for an update that is called off and goes on, so often by now. Nobody needs
/// to hear what it says.
pub(super) fn called_off(monitor: &Monitor, times: usize) -> Result<()> {
    monitor.runs()?;
    let mut admin = monitor.stage.admin()?;
    admin.prepare(monitor.stage.target())?;
    admin.freeze()?;
    admin.cancel(Some("the window has closed"))?;
    for line in ["state is written: ", "the update is called off: "] {
        let what = format!("{line} {times} times");
        within(PATIENCE, &what, || Ok(monitor.lines(line) == times))?;
    }
    monitor.runs()
}

/// Whether a thread of a process is in a write that does not end.
fn waits_for_a_write(process: u32) -> Result<bool> {
    /// The number of the call, as the kernel has it in front.
    const WRITE: &str = "1 ";
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may be gone by now.
        let call = std::fs::read_to_string(thread?.path().join("syscall"));
        if call.is_ok_and(|call| call.starts_with(WRITE)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A luo-vmm is told to end, and does.
fn is_sent_away(monitor: &Monitor) -> Result<()> {
    let before = monitor.lines("ended by a signal");
    let pid = Pid::from_raw(monitor.process()?.try_into()?);
    if let Some(pid) = pid {
        kill_process(pid, Signal::TERM)?;
    }
    let status = monitor.ended()?;
    ensure!(status.code() == Some(0), "{status}\n{}", monitor.log());
    let told = monitor.lines("ended by a signal");
    ensure!(told == before + 1, "{}", monitor.log());
    monitor.is_forgotten()
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
