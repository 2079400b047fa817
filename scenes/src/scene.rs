// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scenes: what happens before the jump, and what must be after it.
//!
//! Three workloads: `cache`, which two others need; `web`; and `batch`, which leaves
//! its session with the agent once it is ready.
//!
//! Each scene ends with an update that succeeds, whatever went wrong before it: that
//! nothing is lost shows in the next kernel.

mod check;
mod kill;
mod refuse;

use anyhow::{Context, Result, ensure};
use luo_varlink::{HistoryEntry, Outcome, Phase, TimelineKind};

use crate::member::Member;
use crate::stage::{Stage, until};

pub use kill::{Kill, Point, Victim, combinations, run};

/// What happens, and when.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// Its name.
    pub name: &'static str,
    /// Up to the jump. It does not return if all goes well.
    pub before: fn(&Stage) -> Result<()>,
    /// From the jump on.
    pub after: fn(&Stage) -> Result<()>,
}

/// The scenes, without those of [`combinations`].
pub const SCENES: &[Scene] = &[
    Scene {
        name: "update",
        before: begin,
        after: all_is_there,
    },
    Scene {
        name: "veto",
        before: refuse::veto,
        after: all_is_there,
    },
    Scene {
        name: "hung",
        before: refuse::hung,
        after: all_is_there,
    },
    Scene {
        name: "excess",
        before: refuse::excess,
        after: all_is_there,
    },
    Scene {
        name: "cancel",
        before: refuse::cancel,
        after: all_is_there,
    },
    Scene {
        name: "unclaimed",
        before: begin,
        after: unclaimed,
    },
    Scene {
        name: "kept",
        before: begin,
        after: kept,
    },
    Scene {
        name: "identity",
        before: begin,
        after: identity,
    },
];

/// The members' names.
pub const NAMES: [&str; 3] = ["cache", "web", "batch"];

/// A member, as all scenes have it.
fn member(name: &str) -> Member {
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

/// Starts all members, and waits until they have preserved what is theirs.
fn start_all(stage: &Stage) -> Result<()> {
    for name in NAMES {
        stage.start(&member(name))?;
        stage.hear(name, "preserved")?;
    }
    stage.all_run(&NAMES)
}

/// The agent, the members, and an update.
fn begin(stage: &Stage) -> Result<()> {
    stage.start_agent("")?;
    start_all(stage)?;
    jump(stage)
}

/// An update that has to succeed.
fn jump(stage: &Stage) -> Result<()> {
    match stage.update() {
        Ok(never) => match never {},
        Err(why) => Err(why).context("the update that has to succeed"),
    }
}

/// In the next kernel: all take theirs back, what is needed first, and verify it.
fn all_is_there(stage: &Stage) -> Result<()> {
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
fn completed(stage: &Stage) -> Result<HistoryEntry> {
    stage.phase(Phase::Normal)?;
    let entry = newest(stage)?;
    ensure!(
        entry.outcome == Outcome::Completed,
        "the update is {}: {:?}",
        entry.outcome,
        entry.reason
    );
    let blackout = entry.blackout_us.context("no blackout was measured")?;
    ensure!(blackout > 0 && blackout <= entry.took_us, "{blackout} us");
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
fn newest(stage: &Stage) -> Result<HistoryEntry> {
    let mut newest = None;
    until("an entry of the history", || {
        newest = stage.history()?.into_iter().next();
        Ok(newest.is_some())
    })?;
    newest.context("the history is empty")
}

/// What is needed is prepared first, frozen last and restored first.
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

/// Nobody comes for the batch's session: it is released at the deadline, and said so.
fn unclaimed(stage: &Stage) -> Result<()> {
    stage.start_agent("restore_deadline = 4")?;
    for name in ["cache", "web"] {
        stage.start(&member(name))?;
        stage.hear(name, "finished")?;
    }
    stage.phase(Phase::Normal)?;
    let entry = newest(stage)?;
    ensure!(
        entry.outcome == Outcome::Incomplete,
        "it is {}",
        entry.outcome
    );
    let reason = entry.reason.unwrap_or_default();
    ensure!(
        reason.contains("did not come back: batch") && reason.contains("nobody claimed: batch"),
        "the reason is: {reason}"
    );
    // What is released is gone: the name is free, and there is nothing to claim.
    stage.start(&member("batch"))?;
    stage.hear("batch", "preserved")?;
    stage.all_run(&NAMES)
}

/// The same, but they are to be kept: the batch gets its session long after.
fn kept(stage: &Stage) -> Result<()> {
    stage.start_agent("restore_deadline = 0.2\nunclaimed = \"keep\"")?;
    for name in ["cache", "web"] {
        stage.start(&member(name))?;
        stage.hear(name, "finished")?;
    }
    let log = stage.folder().join("luod.log");
    until("the deadline", || {
        Ok(std::fs::read_to_string(&log)?.contains("They are kept"))
    })?;
    let refused = stage.admin()?.finish(false);
    ensure!(
        refused.is_err(),
        "it could be finished with a session unclaimed"
    );
    stage.start(&member("batch"))?;
    stage.hear("batch", "verified")?;
    completed(stage).map(drop)
}

/// Another user comes for the cache's session, and gets nothing; its owner does.
fn identity(stage: &Stage) -> Result<()> {
    stage.start_agent("")?;
    let other = luo_varlink::Identity {
        uid: 4711,
        gid: 4711,
        unit: None,
    };
    // The policy would let both have the name; that it is another's is what counts.
    let refusal = stage.register_as(&other, "cache")?;
    ensure!(
        refusal.contains("has sessions of uid 0") || refusal.contains("denied"),
        "it was refused so: {refusal}"
    );
    for name in NAMES {
        stage.start(&member(name))?;
        stage.hear(name, "verified")?;
    }
    completed(stage).map(drop)
}
