// SPDX-License-Identifier: MIT OR Apache-2.0
//! The files of `dist/` under a systemd that runs: the unit, its hardening, its
//! descriptor store and watchdog, and both ways to jump. Here systemd is process 1, and
//! this is a service like the workloads are.
//!
//! | boot | what is seen in it |
//! |---|---|
//! | first | the agent comes up, is lost in each way there is, and loses nothing; then it jumps by `systemctl kexec` |
//! | second | that update's end; then the agent jumps itself |
//! | third | that update's end |
//!
//! With `part:many` it is one boot, in which the descriptor store has many sessions; with
//! `part:stores` it is [`stores`].

mod agent;
mod lost;
mod manager;
mod many;
mod steps;
mod stores;
mod up;

use anyhow::{Context, Result, ensure};
use luo_varlink::{Outcome, Phase};

use crate::check::same;
use crate::init::Guest;
use crate::port;

use agent::{WORKLOADS, all_run, completed, sessions, status};
use manager::{LUOD, journal, run as run_program, succeed, systemctl};
use steps::{REPORT, case, has_its_memory, update};

/// Runs a boot's part.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    if guest.args.text("part") == Some("many") {
        case("many-sessions", many::sessions_come_back);
        return Ok(());
    }
    if guest.args.text("part") == Some("stores") {
        return stores::run(guest).with_context(|| format!("luod said:\n{}", journal(LUOD, 30)));
    }
    let done = match guest.boot {
        0 => up::cases()
            .and_then(|()| lost::cases(guest))
            .and_then(|()| update(guest, "systemctl")),
        1 => after("systemctl").and_then(|()| update(guest, "direct")),
        _ => after("direct"),
    };
    done.with_context(|| format!("luod said:\n{}", journal(LUOD, 30)))
}

/// What is to be seen after a jump.
fn after(jump: &str) -> Result<()> {
    let named = |what: &str| format!("{what}-after-{jump}");
    case(&named("completed"), || {
        let entry = completed()?;
        same("the outcome", entry.outcome, Outcome::Completed)?;
        let took = entry.took_us.context("how long it took is not known")?;
        let blackout = entry.blackout_us.context("no blackout")?;
        port::progress(format!(
            "jump = {jump}: took {} ms, blackout {} ms",
            took / 1000,
            blackout / 1000
        ));
        succeed("luoctl", &["history", "last"])?;
        same("the phase", status()?.phase, Phase::Normal)
    });
    case(&named("the-report-is-there"), || {
        let picture = std::fs::read_to_string(REPORT)?;
        ensure!(
            picture.starts_with("<svg") && picture.contains("completed"),
            "{picture}"
        );
        Ok(())
    });
    for unit in WORKLOADS {
        case(&named(&format!("{unit}-has-its-memory")), || {
            has_its_memory(unit)
        });
    }
    case(&named("nothing-is-left"), || {
        all_run(&WORKLOADS)?;
        let incoming: Vec<_> = sessions()?.into_iter().filter(|one| one.incoming).collect();
        same("sessions of the previous kernel", incoming, vec![])?;
        let (_, state) = run_program("systemctl", &["is-system-running", "--wait"])?;
        same("the system", state.as_str(), "running")
            .with_context(|| systemctl(&["--failed", "--plain"]).unwrap_or_default())
    });
    Ok(())
}
