// SPDX-License-Identifier: MIT OR Apache-2.0
//! A systemd that keeps descriptor stores over a kexec, and our agent beside it: both
//! make sessions, and both jump. Ways to keep memory are those of [`crate::service`]; the
//! agent's workloads go along.
//!
//! A jump by `systemctl kexec` is systemd's, which puts the descriptor stores away when
//! all services have ended. One by the agent itself is none of systemd's: what is in
//! descriptor stores alone does not come along then, and what is in sessions does.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, ensure};
use luo_scenes::stage::until;
use luo_varlink::{CheckStatus, Orchestrator, Outcome, Phase, Target};

use super::agent::{WORKLOADS, all_run, completed, sessions, status};
use super::manager::{journal, run as run_program, succeed, systemctl};
use super::steps::{case, has_its_memory, update};
use crate::check::same;
use crate::init::Guest;
use crate::port;
use crate::service::{ITS_SESSION, claim};

const SERVICES: [&str; 3] = ["keeper", "store", "tenant"];

/// How the machine jumps out of each boot.
const JUMPS: [&str; 3] = ["systemctl", "direct", "systemctl"];

/// The first release that keeps descriptor stores.
const KEEPS: u32 = 261;

/// Runs a boot's part.
pub(super) fn run(guest: &Guest) -> Result<()> {
    let hops: u32 = guest.args.get("hops", 3)?;
    let jump = |boot: u32| JUMPS.get(boot as usize).context("too many hops");
    match guest.boot.checked_sub(1) {
        None => first(),
        Some(before) => after(guest.boot, jump(before)?),
    }
    if guest.boot >= hops {
        return Ok(());
    }
    update(guest, jump(guest.boot)?)
}

fn first() {
    case("systemd-keeps-stores", || {
        let version = succeed("systemctl", &["--version"])?;
        let line = version.lines().next().unwrap_or_default();
        port::progress(line);
        let number: u32 = line.split(' ').nth(1).context("no version")?.parse()?;
        ensure!(number >= KEEPS, "{line}");
        Ok(())
    });
    case("device-is-delegated", || {
        let mode = fs::metadata("/dev/liveupdate")?.mode() & 0o777;
        same("the mode", mode, 0o666)
    });
    for service in SERVICES {
        case(&format!("{service}-is-ready"), || is_ready(service));
    }
    case("workloads-run", || all_run(&WORKLOADS));
    case("what-direct-loses-is-named", direct_loses);
}

/// luod says before which stores a jump of its own leaves behind, and that its own is none.
fn direct_loses() -> Result<()> {
    let report = luo_client::agent::Admin::connect()?.check(&Target::default())?;
    let mut checks = report.checks.iter();
    let of_stores = checks.find(|check| check.name == "jump-stores");
    let check = of_stores.with_context(|| format!("{report:?}"))?;
    port::progress(&check.found);
    ensure!(check.status == CheckStatus::Failed, "{check:?}");
    ensure!(check.found.contains("store.service ("), "{check:?}");
    ensure!(!check.found.contains("luod.service"), "{check:?}");
    Ok(())
}

/// What is to be seen after a jump.
fn after(boot: u32, jump: &str) {
    let named = |what: &str| format!("{what}-after-{boot}-{jump}");
    case(&named("completed"), || {
        let entry = completed()?;
        same("the outcome", entry.outcome, Outcome::Completed)?;
        port::progress(format!(
            "jump = {jump}: blackout {} ms",
            entry.blackout_us.context("no blackout")? / 1000
        ));
        same("the phase", status()?.phase, Phase::Normal)
    });
    for unit in WORKLOADS {
        case(&named(unit), || has_its_memory(unit));
    }
    for service in SERVICES {
        case(&named(service), || {
            let of = boot.checked_sub(1).context("the first boot")?;
            is_ready(service)?;
            match (service, jump) {
                ("keeper", "direct") => waits_and_is_claimed(of),
                // What is in a descriptor store alone is in no session before
                // systemd-shutdown makes one of it, which is the last that it does: luod's
                // own jump comes before. The administrator who wants it to go along has the
                // machine jump by systemctl (docs/agent.md).
                ("store", "direct") => said(service, "nothing has come"),
                _ => said(service, &format!("verified memory of boot {of}")),
            }
        });
    }
    case(&named("incoming"), || {
        // Mainline lists no sessions, neither those that wait nor that none does.
        let incoming = sessions()?.into_iter().filter(|one| one.incoming);
        let names: Vec<_> = incoming.map(|one| one.name).collect();
        same("sessions that nobody claimed", names, vec![])
    });
    case(&named("system"), || {
        let (_, state) = run_program("systemctl", &["is-system-running", "--wait"])?;
        same("the system", state.as_str(), "running")
            .with_context(|| systemctl(&["--failed", "--plain"]).unwrap_or_default())
    });
}

/// Asserts that a service has said something in this boot, in a line of its own.
fn said(service: &str, expected: &str) -> Result<()> {
    let said = journal(service, 100);
    ensure!(said.lines().any(|line| line == expected), "{said}");
    Ok(())
}

/// The session that systemd has made for a unit waits for an administrator when the machine
/// has jumped without systemd, which alone knows of it; and it is whole.
fn waits_and_is_claimed(of: u32) -> Result<()> {
    let said = journal("keeper", 100);
    // By what it is called in this kernel, which systemd names by the unit.
    let mut called = said
        .lines()
        .filter_map(|line| line.strip_prefix(ITS_SESSION));
    let called = called.next_back().with_context(|| said.clone())?;
    if status()?.orchestrator != Orchestrator::Mainline {
        let incoming = sessions()?.into_iter().filter(|one| one.incoming);
        let names: Vec<_> = incoming.map(|one| one.name).collect();
        same("the sessions that wait", names, vec![called.to_owned()])?;
    }
    claim(called, of).with_context(|| called.to_owned())
}

/// Waits until a service has kept this boot's memory.
fn is_ready(service: &str) -> Result<()> {
    until("that it is ready", || {
        Ok(journal(service, 100).lines().any(|line| line == "ready"))
    })
    .with_context(|| journal(service, 100))
}
