// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scenes that differ after the jump only.

use anyhow::{Result, ensure};
use luo_varlink::{Outcome, Phase};

use super::common::{NAMES, completed, member, newest};
use crate::member::Member;
use crate::stage::{Stage, until};

/// Nobody comes for the batch's session: it is released at the deadline, and said so.
pub(super) fn unclaimed(stage: &Stage) -> Result<()> {
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
        reason.contains("these have not come back: batch")
            && reason.contains("nobody claimed: batch"),
        "the reason is: {reason}"
    );
    // The released session is gone: its name is free, and there is nothing to claim.
    stage.start(&member("batch"))?;
    stage.hear("batch", "preserved")?;
    stage.all_run(&NAMES)
}

/// The same, but they are to be kept: the batch gets its session long after.
pub(super) fn kept(stage: &Stage) -> Result<()> {
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

/// The cache claims its session at once, and serves again long after the deadline; those who
/// need it wait until then. Lateness costs nothing but a line in the history.
pub(super) fn late(stage: &Stage) -> Result<()> {
    stage.start_agent("restore_deadline = 0.5\nunclaimed = \"keep\"")?;
    stage.start(&Member {
        gate: Some("claimed".to_owned()),
        ..member("cache")
    })?;
    let gate = stage.at_gate("cache", "claimed")?;
    for name in ["web", "batch"] {
        stage.start(&member(name))?;
        stage.hear(name, "finished")?;
    }
    stage.phase(Phase::Normal)?;
    let entry = newest(stage)?;
    let reason = entry.reason.unwrap_or_default();
    ensure!(
        entry.outcome == Outcome::Incomplete
            && reason.contains("these have not come back:")
            && reason.contains("cache"),
        "it is {}: {reason}",
        entry.outcome
    );
    drop(gate);
    for word in ["verified", "finished", "preserved"] {
        stage.hear("cache", word)?;
    }
    until("that nobody is missing any more", || {
        Ok(newest(stage)?.outcome == Outcome::Completed)
    })?;
    stage.all_run(&NAMES)?;
    let report = stage.admin()?.check(stage.target())?;
    ensure!(report.ok, "no further update can begin: {report:?}");
    Ok(())
}

/// Another user comes for the cache's session, and gets nothing; its owner does.
pub(super) fn identity(stage: &Stage) -> Result<()> {
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
