// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks that fail: nothing is changed, and the message says what to do; and one that has
//! nothing to say.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result, ensure};
use luo_client::agent::{Agent, Workload};
use luo_client::{SessionName, Token};
use luo_varlink::{Check, CheckStatus, Phase};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::common::{NAMES, start_all};
use crate::stage::Stage;

/// More than the made-up machine has.
const SPARSE: u64 = 1 << 40;

/// `luoctl check` and `luoctl update` must refuse because of one check.
///
/// # Errors
/// They did not, or something was changed.
pub(super) fn refused(stage: &Stage, check: &str) -> Result<()> {
    stage.start_agent("")?;
    start_all(stage)?;
    let _declared = declare(stage, check)?;
    for command in ["check", "update"] {
        let output = stage.luoctl_with_target(command).output()?;
        let told = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        ensure!(
            output.status.code() == Some(1),
            "luoctl {command}: {}\n{told}",
            output.status
        );
        ensure!(told.contains(check), "luoctl {command} said:\n{told}");
    }
    let report = stage.admin()?.check(stage.target())?;
    let mut failed = report.checks.iter().filter(|found| found.name == check);
    let found = failed.next().with_context(|| format!("{report:?}"))?;
    ensure!(!report.ok && found.remedy.is_some(), "{found:?}");
    // Nobody was asked.
    ensure!(
        stage.status()?.phase == Phase::Normal,
        "an update is under way"
    );
    stage.all_run(&NAMES)
}

/// The checks must have nothing against a memfd that must not be executed.
///
/// # Errors
/// They have.
pub(super) fn comes_back(stage: &Stage) -> Result<()> {
    stage.start_agent("")?;
    let _declared = declare(stage, SEALS)?;
    let report = stage.admin()?.check(stage.target())?;
    let bad = |check: &&Check| check.name == SEALS || check.status == CheckStatus::Failed;
    let bad: Vec<_> = report.checks.iter().filter(bad).collect();
    ensure!(report.ok && bad.is_empty(), "{bad:?}");
    let mut names = report.checks.iter().map(|check| check.name.as_str());
    ensure!(names.any(|name| name == "target-memfds"), "{report:?}");
    Ok(())
}

/// The check of seals that do not come back as they were.
const SEALS: &str = "file-seals";

/// A workload that is going to preserve what a check must refuse.
fn declare(stage: &Stage, check: &str) -> Result<Option<Workload>> {
    let file = match check {
        "file-kind" => huge()?,
        "file-memory" => {
            let file = memfd_create("sparse", MemfdFlags::CLOEXEC)?;
            ftruncate(&file, SPARSE)?;
            file
        }
        SEALS => memfd_create("sealed", MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL)?,
        _ => return Ok(None),
    };
    let mut workload = Agent::connect_to(&stage.runtime())?.register("probe", &[])?;
    let name = SessionName::new("probe")?;
    workload.create_session(&name)?;
    let report = workload.declare(&name, Token(1), &file)?;
    // What becomes of seals depends on the next kernel, which is not known yet.
    ensure!(
        !report.ok || check == SEALS,
        "it may be preserved, says the agent: {report:?}"
    );
    Ok(Some(workload))
}

/// A memfd of huge pages, with none in it.
fn huge() -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB;
    memfd_create("huge", flags).context("a kernel without huge pages cannot try this")
}
