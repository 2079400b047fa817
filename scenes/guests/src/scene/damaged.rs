// SPDX-License-Identifier: MIT OR Apache-2.0
//! A state that is not what was written is refused, and the guest's memory stays where it is: what
//! has the right state goes on with it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use luo_client::SessionName;
use luo_client::agent::Agent;
use luo_client::memory::Regions;

use crate::machine::{GUEST, Machine};

pub(super) fn run(machine: &mut Machine, boot: usize) -> Result<()> {
    machine.begin()?;
    if boot == 0 {
        machine.start()?;
        machine.runs()?;
        machine.counts_on()?;
        return machine.jump();
    }
    // A bit of the head, one of the state, a version from the future, another program's, a flag that
    // is not known, and a part of the mark that the state was used.
    for (offset, words) in [
        (16, "checksum"),
        (5000, "checksum"),
        (8, "version"),
        (0, "does not begin"),
        (12, "it has flags"),
        (96, "whether it was used is damaged"),
    ] {
        flip(machine, offset)?;
        machine.start()?;
        let status = machine.ended()?;
        ensure!(
            status.code() == Some(65),
            "{offset}: {status}\n{}",
            machine.log()
        );
        let log = machine.log();
        let last = log.lines().last().unwrap_or_default();
        ensure!(
            last.contains(words) && last.contains("memory is kept"),
            "{last}"
        );
        flip(machine, offset)?;
    }
    machine.start()?;
    machine.is_completed()?;
    machine.runs()?;
    machine.counts_on()
}

/// Changes a bit of the state, as the workload itself could.
fn flip(machine: &Machine, offset: u64) -> Result<()> {
    let name = SessionName::new(GUEST)?;
    let agent = || Agent::connect_to(&machine.stage.runtime())?.register(GUEST, &[]);
    let mut workload = None;
    luo_scenes::stage::until("that the guest's place is free", || {
        workload = agent().ok();
        Ok(workload.is_some())
    })?;
    let mut workload = workload.context("not registered")?;
    let claim = workload.claim(&name)?;
    let regions = Regions::restore_from(&claim.session)?;
    let state: &File = regions.get("state").context("no state")?.file();
    let mut byte = [0];
    state.read_exact_at(&mut byte, offset)?;
    state.write_all_at(&[byte[0] ^ 2], offset)?;
    Ok(())
}
