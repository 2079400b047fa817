// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cases of the scenario, and the steps that its parts share.

use anyhow::{Context, Result, bail};
use luo_scenes::stage::until;

use super::agent::{WORKLOADS, all_run, configure};
use super::manager::{LUOD, journal, property, run};
use crate::check::{Suite, same};
use crate::init::Guest;
use crate::port;

pub(super) const SUITE: Suite = Suite::new("systemd");

/// Where the picture of an update is to be, in whichever kernel it ends.
pub(super) const REPORT: &str = "/var/lib/luod/update.svg";

/// A case; what luod said goes with its failure.
pub(super) fn case(name: &str, body: impl FnOnce() -> Result<()>) {
    SUITE.case(name, || {
        body().with_context(|| format!("luod said:\n{}\nand", journal(LUOD, 30)))
    });
}

/// `luoctl update`. It does not come back if all goes well.
pub(super) fn update(guest: &Guest, jump: &str) -> Result<()> {
    configure(guest, jump)?;
    let running: Vec<_> = match (guest.boot, guest.args.text("part")) {
        (0, None) => vec!["cache", "web"],
        _ => WORKLOADS.to_vec(),
    };
    all_run(&running)?;
    port::progress(format!("luoctl update, jump = {jump}"));
    port::flush();
    let (output, text) = run("luoctl", &["update", "--report", REPORT])?;
    if output.status.success() {
        // The machine is on its way, and with it goes this process.
        until("the jump", || Ok(false))?;
    }
    bail!("luoctl update: {}\n{text}", output.status)
}

/// That a workload of the agent has its memory, each word of it.
pub(super) fn has_its_memory(unit: &str) -> Result<()> {
    until("that it has verified", || {
        Ok(journal(unit, 1000)
            .lines()
            .any(|line| line.starts_with("verified ")))
    })
    .with_context(|| journal(unit, 30))?;
    let state = property(unit, "ActiveState")?;
    same("its unit", state.as_str(), "active")
}
