// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long a guest stands still in an update, by three who do not ask each other: the guest, whose
//! steps are seen in its memory; its monitor, which stops it and lets it go on; and the agent, which
//! asks the monitor for both. And where that time goes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use luo_sys::clock;
use luo_varlink::{HistoryEntry, Phase, TimelineKind};

use crate::machine::{GUEST, Machine};
use crate::{monitor, steps};

/// How far what they say may be apart, on a machine whose time goes by its instructions, as the two
/// below. Where the host does something else, too, each of them may stand for as long as that takes
/// between two lines that follow each other.
const APART: Duration = Duration::from_millis(50);

/// From when a guest is asked to stand still to the jump.
const TO_THE_JUMP: Duration = Duration::from_millis(100);

/// What a guest stands still beside the time from kernel to kernel.
const BESIDE: Duration = Duration::from_millis(600);

/// A machine type with a version, so that luo-qemu need not ask QEMU for what an alias stands for.
const MACHINE: &str = "pc-i440fx-9.0";

/// Updates in a row, each measured.
pub(super) fn run(machine: &mut Machine, boot: usize) -> Result<()> {
    machine.kind = MACHINE;
    machine.notes_steps = true;
    machine.begin()?;
    let begun = clock::ticks();
    machine.start()?;
    let started = clock::ticks();
    machine.watch_ticks()?;
    if boot > 0 {
        let entry = machine.is_completed()?;
        machine.runs()?;
        machine.counts_on()?;
        // The one that was started first, before luod was asked, is the one that goes on.
        let waited = machine.lines("QEMU waiting for connection");
        ensure!(
            waited == boot,
            "{waited} have waited for their RAM: {}",
            machine.log()
        );
        let before = [("agent and files", begun), ("luo-qemu started", started)];
        tell_steps(machine, boot, before)?;
        measured(machine, boot, &entry)?;
    }
    machine.runs()?;
    machine.counts_on()?;
    match boot {
        3 => Ok(()),
        _ => machine.jump(),
    }
}

/// Says how long each step took, from when the guest was asked to stand still to when it went on.
fn tell_steps(machine: &Machine, boot: usize, before: [(&str, Option<u64>); 2]) -> Result<()> {
    let khz = u64::from(monitor::khz()?);
    let log = machine.log();
    let steps = steps::read(&log);
    let asked = steps.iter().rposition(|(word, _)| *word == "freeze");
    let asked = asked.context("no step was noted")?;
    let registered = steps.iter().rposition(|(word, _)| *word == "registered");
    let registered = registered
        .filter(|&at| at > asked)
        .context("none since the jump")?;
    let init = machine.init.context("nobody knows when this boot began")?;
    let before = before
        .into_iter()
        .filter_map(|(word, ticks)| Some((word, ticks?)));
    let after = before.chain(steps[registered..].iter().copied());
    for (what, from, steps) in [
        (
            "asked to stand still",
            steps[asked].1,
            steps[asked..registered].to_vec(),
        ),
        ("the first program of this boot", init, after.collect()),
    ] {
        let steps = steps
            .iter()
            .map(|(word, ticks)| format!("{word} {} ms", ticks.saturating_sub(from) / khz));
        machine.say(&format!(
            "hop {boot}: from {what}: {}",
            steps.collect::<Vec<_>>().join(", ")
        ));
    }
    Ok(())
}

fn measured(machine: &Machine, boot: usize, entry: &HistoryEntry) -> Result<()> {
    let khz = u64::from(monitor::khz()?);
    let (last, first) = machine.ticks_over_the_jump()?;
    let between = |from: u64, to: u64| -> Result<Duration> {
        let ticks = to.checked_sub(from).context("the counter went back")?;
        Ok(Duration::from_micros(ticks.saturating_mul(1000) / khz))
    };
    let by_guest = between(last.ticks, first.ticks)?;
    let by_monitor = machine.stood_still()?;
    let by_agent = entry.away_us(GUEST).context("the agent does not know it")?;
    let by_agent = Duration::from_micros(by_agent);
    let to_the_jump = to_the_jump(entry)?;
    let init = machine.init.context("nobody knows when this boot began")?;
    let after = between(init, first.ticks)?;
    let kernels = by_guest.saturating_sub(to_the_jump + after);
    machine.say(&format!(
        "hop {boot}: the guest stood still for {} ms; luo-qemu says {} ms, luod {} ms. To the jump {} \
         ms, from kernel to kernel {} ms, from there to the guest's first step {} ms",
        by_guest.as_millis(),
        by_monitor.as_millis(),
        by_agent.as_millis(),
        to_the_jump.as_millis(),
        kernels.as_millis(),
        after.as_millis(),
    ));
    if !machine.is_counted {
        return Ok(());
    }
    for (who, said) in [("luo-qemu", by_monitor), ("luod", by_agent)] {
        let apart = said.abs_diff(by_guest);
        ensure!(apart <= APART, "{who} is {} ms apart", apart.as_millis());
    }
    ensure!(to_the_jump <= TO_THE_JUMP, "the jump came late");
    ensure!(to_the_jump + after <= BESIDE, "the guest came late");
    Ok(())
}

/// From when the guest was asked to stand still to the jump.
fn to_the_jump(entry: &HistoryEntry) -> Result<Duration> {
    let mut lines = entry.timeline.iter();
    let asked = lines.find(|line| {
        line.kind == TimelineKind::Asked
            && line.phase == Phase::Freezing
            && line.workload.as_deref() == Some(GUEST)
    });
    let asked = asked.context("the guest was not asked to stand still")?;
    let mut phases = entry.phases().into_iter();
    let jump = phases.find(|time| time.phase == Phase::Jumping);
    let jump = jump.context("there was no jump")?.begin;
    let took = jump.checked_sub(asked.time_us);
    Ok(Duration::from_micros(took.context("the clock went back")?))
}
