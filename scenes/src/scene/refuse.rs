// SPDX-License-Identifier: MIT OR Apache-2.0
//! Updates that are refused: everything goes on, and the reason is told.

use anyhow::{Context, Result, bail, ensure};
use luo_varlink::{Outcome, Phase, Step};

use super::common::{NAMES, jump, member, newest, start_all};
use crate::member::Member;
use crate::stage::Stage;

/// An update that must not succeed; gives the reason.
pub(super) fn refused(stage: &Stage) -> Result<String> {
    match stage.update() {
        Ok(never) => match never {},
        Err(why) => Ok(format!("{why:#}")),
    }
}

/// After an update that did not come about, the workloads that were asked serve on, and the
/// history says why.
fn goes_on(stage: &Stage, asked: &[&str], reason: &str) -> Result<()> {
    for name in asked {
        stage.hear(name, "cancel")?;
        let told = stage.hear(name, "because")?;
        ensure!(told.contains(reason), "{name} was told: {told}");
        stage.hear(name, "serves-on")?;
    }
    let entry = newest(stage)?;
    ensure!(
        entry.outcome == Outcome::Cancelled,
        "it is {}",
        entry.outcome
    );
    let why = entry.reason.unwrap_or_default();
    ensure!(why.contains(reason), "the history says: {why}");
    Ok(())
}

/// `web` says no, at prepare and at freeze.
pub(super) fn veto(stage: &Stage) -> Result<()> {
    stage.start_agent("")?;
    for step in [Step::Prepare, Step::Freeze] {
        let web = Member {
            veto: Some(step),
            ..member("web")
        };
        let expected = format!("workload 'web' vetoes at {step}: not while the backup runs");
        fails(stage, web, &expected)?;
    }
    start_all(stage)?;
    jump(stage)
}

/// `web` never answers, to prepare and to freeze.
pub(super) fn hung(stage: &Stage) -> Result<()> {
    stage.start_agent("prepare_deadline = 2\nfreeze_deadline = 1.5")?;
    for (step, seconds) in [(Step::Prepare, "2"), (Step::Freeze, "1.5")] {
        let web = Member {
            hang: Some(step),
            ..member("web")
        };
        let expected = format!("workload 'web' did not answer {step} within {seconds} s");
        fails(stage, web, &expected)?;
    }
    start_all(stage)?;
    jump(stage)
}

/// Everybody preserves more than the policy allows: files, then bytes.
pub(super) fn excess(stage: &Stage) -> Result<()> {
    stage.start_agent("")?;
    for (limits, expected) in [
        ("files = 1", "files, and the policy allows 1"),
        ("bytes = 4096", "bytes, and the policy allows 4096"),
    ] {
        stage.limit(limits)?;
        stage.kill_agent()?;
        stage.agent_answers()?;
        fails(stage, member("web"), expected)?;
    }
    stage.limit("")?;
    stage.kill_agent()?;
    stage.agent_answers()?;
    start_all(stage)?;
    jump(stage)
}

/// An update that fails because of one member, with this reason. Then all members end.
fn fails(stage: &Stage, odd: Member, expected: &str) -> Result<()> {
    stage.start(&member("cache"))?;
    stage.start(&odd)?;
    // It would be gone by the time of the freeze.
    stage.start(&Member {
        leave: false,
        ..member("batch")
    })?;
    for name in NAMES {
        stage.hear(name, "preserved")?;
    }
    let reason = refused(stage)?;
    ensure!(reason.contains(expected), "the reason is: {reason}");
    goes_on(stage, &NAMES, expected)?;
    stage.all_run(&NAMES)?;
    end_all(stage)
}

/// Ends all members, and waits until the agent has seen that they are gone.
fn end_all(stage: &Stage) -> Result<()> {
    for name in NAMES {
        stage.kill(name)?;
    }
    crate::stage::until("that the members are forgotten", || {
        Ok(stage.status()?.workloads.is_empty())
    })
}

/// An administrator ends it, when all are ready and when all stand still.
pub(super) fn cancel(stage: &Stage) -> Result<()> {
    stage.start_agent("")?;
    for name in NAMES {
        stage.start(&Member {
            leave: false,
            ..member(name)
        })?;
        stage.hear(name, "preserved")?;
    }
    let mut admin = stage.admin()?;
    admin.prepare(stage.target())?;
    stage.phase(Phase::Prepared)?;
    if admin.prepare(stage.target()).is_ok() {
        bail!("an update began while another was prepared");
    }
    admin.cancel(Some("the window has closed"))?;
    goes_on(stage, &NAMES, "the window has closed")?;

    admin.prepare(stage.target())?;
    admin.freeze().context("freeze")?;
    stage.phase(Phase::Frozen)?;
    admin.cancel(Some("the window has closed again"))?;
    goes_on(stage, &NAMES, "the window has closed again")?;
    stage.all_run(&NAMES)?;
    end_all(stage)?;
    start_all(stage)?;
    jump(stage)
}
