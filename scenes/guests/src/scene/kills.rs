// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIGKILL for luo-qemu at each step: the guest loses nothing, and the next luo-qemu goes on
//! with it.

use std::os::unix::process::ExitStatusExt;

use anyhow::{Result, ensure};
use luo_monitor::point::Point;

use crate::machine::Killed;
use crate::machine::Machine;
use crate::watch::update_up_to;

/// A luo-qemu that is killed at a step; it has to come there.
fn killed(machine: &Machine) -> Result<()> {
    let status = machine.ended()?;
    ensure!(status.signal() == Some(9), "{status}\n{}", machine.log());
    Ok(())
}

/// Up to the jump.
pub(super) fn before(machine: &mut Machine, boot: usize) -> Result<()> {
    machine.begin()?;
    if boot > 0 {
        machine.start()?;
        machine.is_completed()?;
        machine.runs()?;
        return machine.counts_on();
    }
    for point in [Point::Registered, Point::Started] {
        machine.start_and_kill(Some(Killed::Own(point)))?;
        killed(machine)?;
    }
    // The guest was started by the second one.
    ensure!(machine.lines("started: ") == 0, "{}", machine.log());
    let points = Point::ALL.into_iter();
    let points = points.filter(|point| (Point::Prepare..=Point::Cancel).contains(point));
    for point in points {
        machine.start_and_kill(Some(Killed::Own(point)))?;
        machine.runs()?;
        machine.counts_on()?;
        update_up_to(&machine.stage, point)?;
        killed(machine)?;
        machine.is_forgotten()?;
        machine.say(&format!("killed at {}", point.word()));
    }
    machine.start()?;
    machine.runs()?;
    machine.counts_on()?;
    machine.jump()
}

/// From the jump on: after each jump at some steps.
pub(super) fn after(machine: &mut Machine, boot: usize) -> Result<()> {
    machine.begin()?;
    let points: &[Point] = match boot {
        0 => &[],
        1 => &[
            Point::Claimed,
            Point::Waiting,
            Point::Loaded,
            Point::Used,
            Point::Finished,
        ],
        2 => &[Point::Resumed],
        _ => &[Point::Restored],
    };
    for point in points {
        machine.start_and_kill(Some(Killed::Own(*point)))?;
        killed(machine)?;
        machine.say(&format!("hop {boot}: killed at {}", point.word()));
    }
    machine.start()?;
    if boot > 0 {
        machine.is_completed()?;
    }
    machine.runs()?;
    machine.counts_on()?;
    match boot {
        3 => Ok(()),
        _ => machine.jump(),
    }
}
