// SPDX-License-Identifier: MIT OR Apache-2.0
//! The steps that scenes share, up to the jump and after it.

use anyhow::{Context, Result, ensure};
use luo_varlink::{HistoryEntry, Outcome, Phase, TimelineKind};

use crate::member::Member;
use crate::stage::{Stage, until};

/// The members' names.
pub const NAMES: [&str; 3] = ["cache", "web", "batch"];

/// A member, as all scenes have it.
pub(super) fn member(name: &str) -> Member {
    let needs = match name {
        "cache" => Vec::new(),
        _ => vec!["cache".to_owned()],
    };
    Member {
        name: name.to_owned(),
        needs,
        leave: name == "batch",
        bytes: 65_536,
        ..Member::default()
    }
}

/// Starts all members, and waits until they have preserved their sessions.
pub(super) fn start_all(stage: &Stage) -> Result<()> {
    for name in NAMES {
        stage.start(&member(name))?;
        stage.hear(name, "preserved")?;
    }
    stage.all_run(&NAMES)
}

/// The agent, the members, and an update.
pub(super) fn begin(stage: &Stage) -> Result<()> {
    stage.start_agent("")?;
    start_all(stage)?;
    jump(stage)
}

/// An update that has to succeed.
pub(super) fn jump(stage: &Stage) -> Result<()> {
    match stage.update() {
        Ok(never) => match never {},
        Err(why) => Err(why).context("the update that has to succeed"),
    }
}

/// In the next kernel: all take their sessions back, the needed first, and verify
/// them.
pub(super) fn all_is_there(stage: &Stage) -> Result<()> {
    stage.start_agent("")?;
    stage.phase(Phase::Updated)?;
    // Those who need the cache come first, and wait for it.
    for name in ["web", "batch", "cache"] {
        stage.start(&member(name))?;
        stage.hear(name, "registered")?;
    }
    for name in NAMES {
        stage.hear(name, "verified")?;
        stage.hear(name, "preserved")?;
    }
    let entry = completed(stage)?;
    in_order(&entry)?;
    stage.all_run(&NAMES)
}

/// The update is over, and all came back.
pub(super) fn completed(stage: &Stage) -> Result<HistoryEntry> {
    stage.phase(Phase::Normal)?;
    let entry = newest(stage)?;
    ensure!(
        entry.outcome == Outcome::Completed,
        "the update is {}: {:?}",
        entry.outcome,
        entry.reason
    );
    let blackout = entry.blackout_us.context("no blackout was measured")?;
    let took = entry.took_us.context("how long it took is not known")?;
    ensure!(blackout > 0 && blackout <= took, "{blackout} us");
    is_whole(&entry)?;
    Ok(entry)
}

/// The account of an update has every phase, over the jump too, and its times go on.
fn is_whole(entry: &HistoryEntry) -> Result<()> {
    let phases: Vec<_> = {
        let lines = entry.timeline.iter();
        let entered = lines.filter(|line| line.kind == TimelineKind::Phase);
        entered.map(|line| line.phase).collect()
    };
    let all = [
        Phase::Preparing,
        Phase::Prepared,
        Phase::Freezing,
        Phase::Frozen,
        Phase::Jumping,
        Phase::Updated,
        Phase::Normal,
    ];
    ensure!(phases == all, "the phases are {phases:?}");
    let is_ordered = entry.timeline.is_sorted_by_key(|line| line.time_us);
    ensure!(is_ordered, "time goes back: {:?}", entry.timeline);
    Ok(())
}

/// The newest entry of the history, once it is there.
pub(super) fn newest(stage: &Stage) -> Result<HistoryEntry> {
    let mut newest = None;
    until("an entry of the history", || {
        newest = stage.history()?.into_iter().next();
        Ok(newest.is_some())
    })?;
    newest.context("the history is empty")
}

/// The needed workload is prepared first, frozen last and restored first.
fn in_order(entry: &HistoryEntry) -> Result<()> {
    let place = |kind: TimelineKind, phase: Phase, name: &str| {
        let lines = entry.timeline.iter();
        let mut lines = lines.enumerate().filter(|(_, line)| {
            line.kind == kind && line.phase == phase && line.workload.as_deref() == Some(name)
        });
        let found = lines.next().map(|(place, _)| place);
        found.with_context(|| format!("{name}: no line '{kind}' while {phase}"))
    };
    use TimelineKind::{Agreed, Asked, Restored};
    let web = |kind, phase| place(kind, phase, "web");
    let cache = |kind, phase| place(kind, phase, "cache");
    ensure!(
        cache(Agreed, Phase::Preparing)? < web(Asked, Phase::Preparing)?,
        "web was asked to prepare before the cache was ready"
    );
    ensure!(
        web(Agreed, Phase::Freezing)? < cache(Asked, Phase::Freezing)?,
        "the cache was asked to freeze before web stood still"
    );
    ensure!(
        cache(Restored, Phase::Updated)? < web(Restored, Phase::Updated)?,
        "web served before the cache did"
    );
    Ok(())
}
