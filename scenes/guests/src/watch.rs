// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a scene looks at from outside: what the agent says of the guest and of the update, and
//! how the guest's monitor ends. `log` is what that has said, for whoever looks for a mistake.

use std::cell::RefCell;
use std::process::{Child, ExitStatus};

use anyhow::{Context as _, Result, ensure};
use luo_monitor::point::Point;
use luo_scenes::stage::{Stage, within};
use luo_varlink::{HistoryEntry, Outcome, Phase};

use crate::patience::{GUEST, PATIENCE};

/// Waits until the agent has the guest, connected and running.
pub(crate) fn runs(stage: &Stage, log: impl Fn() -> String) -> Result<()> {
    let running = within(PATIENCE, "that the agent has the guest", || {
        Ok(stage.all_run(&[GUEST]).is_ok())
    });
    running.with_context(log)
}

/// Waits until the agent has forgotten the guest, and no update is under way.
pub(crate) fn is_forgotten(stage: &Stage, guest: &str) -> Result<()> {
    within(PATIENCE, "that the guest is forgotten", || {
        let status = stage.status()?;
        let mut workloads = status.workloads.iter();
        let is_there = workloads.any(|workload| workload.name == guest && workload.connected);
        Ok(!is_there && status.phase == Phase::Normal)
    })
}

/// Waits until the update is over, with everything back.
pub(crate) fn is_completed(stage: &Stage, log: impl Fn() -> String) -> Result<HistoryEntry> {
    let normal = within(PATIENCE, "the end of the update", || {
        Ok(stage.status()?.phase == Phase::Normal)
    });
    normal.with_context(log)?;
    let entry = stage.history()?.into_iter().next();
    let entry = entry.context("the history is empty")?;
    ensure!(entry.outcome == Outcome::Completed, "{entry:?}");
    Ok(entry)
}

/// Jumps.
pub(crate) fn jump(stage: &Stage, log: impl Fn() -> String) -> Result<()> {
    match stage.update() {
        Ok(never) => match never {},
        Err(why) => Err(why).with_context(log),
    }
}

/// How a monitor has ended. It has to.
pub(crate) fn ended(running: &RefCell<Option<Child>>) -> Result<ExitStatus> {
    let child = running.borrow_mut().take();
    let mut child = child.context("none was started")?;
    let mut status = None;
    within(PATIENCE, "the end of the guest's monitor", || {
        status = child.try_wait()?;
        Ok(status.is_some())
    })?;
    status.context("no status")
}

/// An update up to a step at which the guest's monitor is killed, and no further.
pub(crate) fn update_up_to(stage: &Stage, point: Point) -> Result<()> {
    let mut admin = stage.admin()?;
    let prepared = admin.prepare(stage.target());
    if point <= Point::Preserved {
        ensure!(prepared.is_err(), "prepared without the guest");
        return Ok(());
    }
    if point > Point::Ready {
        prepared?;
        let frozen = admin.freeze();
        if point <= Point::Saved {
            ensure!(frozen.is_err(), "frozen without the guest");
        }
        if point == Point::Cancel {
            frozen?;
            admin.cancel(Some("the window has closed"))?;
        }
    }
    Ok(())
}
