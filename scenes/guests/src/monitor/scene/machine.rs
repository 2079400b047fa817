// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine itself goes over updates: its VM, its RAM in a guest_memfd, and its doorbell's
//! eventfds. The guest proves its memory and its two processors as ever, and its doorbell: each ring
//! is heard once, also those that nobody had heard when it stopped, and it is interrupted for it.
//!
//! Before the first update one is called off, after the guest stood still. In the second of three a
//! luo-vmm is killed when it has set up the VM, which is that
//! process's for good: the next one lets the guest go on in another VM, and the third update brings
//! it back into one of its own.

use anyhow::{Context, Result, ensure};
use luo_monitor::point::Point;

use super::ends::called_off;
use super::kills::killed;
use super::update::{apart, resumed};
use crate::monitor::Monitor;

/// How long nobody may hear the guest ring after it goes on, in milliseconds: until the session of the
/// previous kernel is finished.
const UNHEARD_MS: u64 = 10_000;

pub(super) fn run(monitor: &mut Monitor, boot: usize) -> Result<()> {
    monitor.begin()?;
    if boot == 2 {
        killed(monitor, Point::Loaded)?;
    }
    monitor.start()?;
    if boot > 0 {
        let stood = resumed(monitor, boot)?;
        let rings = unheard(monitor)?;
        ensure!(rings > 0, "nothing was rung: {}", monitor.log());
        monitor.goes_on()?;
        // The longest gap that it has seen is one of the updates up to now.
        let seen = monitor.kind.read(&monitor.said())?.gap / u64::from(super::super::khz()?);
        monitor.say(&format!(
            "the guest saw {seen} ms, and {rings} rings came along"
        ));
        ensure!(
            seen + apart(stood) >= stood && (boot > 1 || seen <= stood + UNHEARD_MS),
            "{seen} ms, and {stood} ms"
        );
        let anew = monitor.lines("another VM");
        ensure!(anew == usize::from(boot > 1), "{}", monitor.log());
    }
    monitor.runs()?;
    if boot == 0 {
        // Its memory is frozen meanwhile, and KVM waits for its interrupt's eventfd no more.
        called_off(monitor, 1)?;
    }
    monitor.goes_on()?;
    match boot {
        3 => Ok(()),
        _ => monitor.jump(),
    }
}

/// Rings that came over the last jump and that nobody had heard before.
fn unheard(monitor: &Monitor) -> Result<u64> {
    let log = monitor.log();
    let (_, last) = log
        .rsplit_once("doorbell: ")
        .context("there is no doorbell")?;
    Ok(last.split(' ').next().unwrap_or_default().parse()?)
}
