// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIGKILL for luo-vmm at each step. Before the jump it is the guest's end, which the agent sees,
//! and an update is off. After it nothing is lost until the guest has gone on; from then on it is
//! the guest's end again, and nobody starts it from a state that is no longer its own.

use std::os::unix::process::ExitStatusExt;

use anyhow::{Result, ensure};
use luo_monitor::point::Point;

use crate::monitor::Monitor;
use crate::patience::GUEST;
use crate::watch::update_up_to;

pub(super) fn run(monitor: &mut Monitor, boot: usize) -> Result<()> {
    monitor.begin()?;
    match boot {
        0 => before(monitor)?,
        1 => {
            for point in [Point::Claimed, Point::Loaded] {
                killed(monitor, point)?;
            }
            monitor.start()?;
            monitor.is_completed()?;
            ensure!(monitor.lines("resumed: ") == 1, "{}", monitor.log());
        }
        _ => {
            killed(monitor, Point::Used)?;
            monitor.forget_said()?;
            monitor.start()?;
            let afresh = "then luo-vmm ended: it starts afresh";
            monitor.is_completed()?;
            ensure!(monitor.lines(afresh) == 1, "{}", monitor.log());
        }
    }
    monitor.runs()?;
    monitor.goes_on()?;
    match boot {
        2 => Ok(()),
        _ => monitor.jump(),
    }
}

/// A luo-vmm is killed at a step; it has to come there.
pub(super) fn killed(monitor: &Monitor, point: Point) -> Result<()> {
    monitor.start_as(GUEST, Some(point))?;
    is_killed(monitor, point)
}

fn is_killed(monitor: &Monitor, point: Point) -> Result<()> {
    let status = monitor.ended()?;
    ensure!(status.signal() == Some(9), "{status}\n{}", monitor.log());
    monitor.say(&format!("killed at {}", point.word()));
    Ok(())
}

/// Up to the jump; at the end a guest runs.
fn before(monitor: &Monitor) -> Result<()> {
    for point in [Point::Registered, Point::Started] {
        killed(monitor, point)?;
        monitor.is_forgotten()?;
    }
    let points = Point::ALL.into_iter();
    for point in points.filter(|point| (Point::Prepare..=Point::Cancel).contains(point)) {
        monitor.start_as(GUEST, Some(point))?;
        monitor.runs()?;
        update_up_to(&monitor.stage, point)?;
        is_killed(monitor, point)?;
        monitor.is_forgotten()?;
    }
    monitor.forget_said()?;
    monitor.start()
}
