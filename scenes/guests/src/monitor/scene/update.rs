// SPDX-License-Identifier: MIT OR Apache-2.0
//! Updates in a row: the guest goes on where it was, its RAM is mapped and not copied, and its
//! clocks tell how long it stood, or that it did not stand, as it was wanted.

use anyhow::{Context, Result, ensure};

use crate::monitor::Monitor;
use crate::monitor::guest::Kind;

/// How far two measures of a gap of so many milliseconds may be apart. What lies between them is the
/// guest's first steps, whose pages have to be found again: some ten milliseconds where nothing
/// else is to be done, and a multiple of that on a busy host.
pub(super) fn apart(stood: u64) -> u64 {
    250.max(stood / 20)
}

/// A gap of more milliseconds is none of scheduling: a kexec takes a second at least.
const LONG_MS: u64 = 1000;

/// How far a gap by a guest's two clocks may be apart, in microseconds: it is the same gap. What lies
/// between them is some steps of the guest, on a processor that is emulated.
const CLOCKS_APART: u64 = 5000;

/// The bare guest, over two: its clocks go on in the first, and stand in the second.
pub(super) fn bare(monitor: &mut Monitor, boot: usize) -> Result<()> {
    monitor.begin()?;
    if boot == 2 {
        monitor.extra = vec!["--clock=stand"];
    }
    let gaps_before = long_gaps(monitor)?;
    monitor.start()?;
    if boot > 0 {
        let stood = resumed(monitor, boot)?;
        monitor.goes_on()?;
        let gaps = long_gaps(monitor)?;
        if boot == 1 {
            let seen = monitor.kind.read(&monitor.said())?.gap / u64::from(super::super::khz()?);
            monitor.say(&format!("the guest saw {seen} ms, by its own counter"));
            ensure!(
                seen.abs_diff(stood) <= apart(stood),
                "{seen} ms, and {stood} ms"
            );
            ensure!(gaps == 1, "{gaps} gaps");
        } else {
            ensure!(gaps == gaps_before, "{gaps} gaps, before {gaps_before}");
        }
    }
    monitor.runs()?;
    monitor.goes_on()?;
    match boot {
        2 => Ok(()),
        _ => monitor.jump(),
    }
}

/// The bare guest, over twenty, in each of which it sees by its own clock how long it stood still,
/// and no leap beside that.
pub(super) fn twenty(monitor: &mut Monitor, boot: usize) -> Result<()> {
    monitor.begin()?;
    monitor.start()?;
    if boot > 0 {
        let stood = resumed(monitor, boot)?;
        monitor.goes_on()?;
        let khz = u64::from(super::super::khz()?);
        let lines = crate::bare::read(&monitor.said())?;
        let gaps: Vec<_> = lines.iter().map(|line| line.gap / khz).collect();
        let long: Vec<_> = gaps.into_iter().filter(|gap| *gap > LONG_MS).collect();
        ensure!(long.len() == boot, "long gaps: {long:?}");
        let seen = long.last().copied().unwrap_or_default();
        monitor.say(&format!("hop {boot}: the guest saw {seen} ms"));
        ensure!(
            seen.abs_diff(stood) <= apart(stood),
            "{seen} ms, and {stood} ms"
        );
    }
    monitor.runs()?;
    monitor.goes_on()?;
    match boot {
        20 => Ok(()),
        _ => monitor.jump(),
    }
}

/// How many lines tell of a gap that is none of scheduling.
fn long_gaps(monitor: &Monitor) -> Result<usize> {
    let ticks = u64::from(super::super::khz()?) * LONG_MS;
    let lines = crate::bare::read(&monitor.said())?;
    Ok(lines.iter().filter(|line| line.gap > ticks).count())
}

/// Linux, over one. Its boot id, its memory and its clock are looked at in each line that it says.
pub(super) fn linux(monitor: &mut Monitor, boot: usize) -> Result<()> {
    monitor.begin()?;
    monitor.start()?;
    if boot > 0 {
        let stood = resumed(monitor, boot)?;
        monitor.goes_on()?;
        let said = monitor.kind.read(&monitor.said())?;
        let by_counter = said.gap / u64::from(super::super::khz()?);
        let by_clock = said.gap_us.context("it has a clock")? / 1000;
        monitor.say(&format!(
            "the guest saw {by_clock} ms by its clock, {by_counter} ms by its counter"
        ));
        let by_counter_us = said.gap * 1000 / u64::from(super::super::khz()?);
        let apart_us = by_counter_us.abs_diff(said.gap_us.unwrap_or_default());
        ensure!(
            apart_us <= CLOCKS_APART,
            "its clocks are {apart_us} us apart"
        );
        for seen in [by_counter, by_clock] {
            ensure!(
                seen.abs_diff(stood) <= apart(stood),
                "{by_clock} ms, {by_counter} ms, and {stood} ms"
            );
        }
    }
    monitor.runs()?;
    monitor.goes_on()?;
    match boot {
        1 => Ok(()),
        _ => monitor.jump(),
    }
}

/// The update is over, and little was copied; gives for how long the guest stood still, in
/// milliseconds.
pub(super) fn resumed(monitor: &Monitor, boot: usize) -> Result<u64> {
    let entry = monitor.is_completed()?;
    let blackout = entry.blackout_us.context("no blackout was measured")?;
    ensure!(monitor.lines("resumed: ") == boot, "{}", monitor.log());
    let log = monitor.log();
    let (_, last) = log.rsplit_once("resumed: ").context("nothing resumed")?;
    let bytes: u64 = last.split(' ').next().unwrap_or_default().parse()?;
    ensure!(bytes > 0 && bytes < 64 << 10, "{bytes} bytes were copied");
    let (_, stood) = last.split_once("stood still for ").context("no gap")?;
    let stood: f64 = stood.split(' ').next().unwrap_or_default().parse()?;
    monitor.say(&format!(
        "hop {boot}: {bytes} bytes were copied; the guest stood for {stood} s, the blackout took {} ms",
        blackout / 1000
    ));
    is_mapped(monitor)?;
    Ok((stood * 1000.0) as u64)
}

/// The process has 256 MiB of shared memory mapped, of a memfd or of a VM's own.
fn is_mapped(monitor: &Monitor) -> Result<()> {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", monitor.process()?))?;
    let is_ram = |line: &str| {
        let range = line.split(' ').next();
        let range = range.and_then(|range| range.split_once('-'));
        let number = |text| u64::from_str_radix(text, 16).unwrap_or_default();
        let size = range.map(|(from, to)| number(to) - number(from));
        let is_kind = match monitor.kind {
            Kind::Machine => line.contains("[kvm-gmem]"),
            _ => line.ends_with(" (deleted)"),
        };
        is_kind && line.contains(" rw-s ") && size == Some(256 << 20)
    };
    ensure!(maps.lines().any(is_ram), "no such memory is mapped");
    Ok(())
}
