// SPDX-License-Identifier: MIT OR Apache-2.0
//! A state that is not what was written is refused, and the guest's memory stays where it is: what
//! has the right state goes on with it. A session of another program's is refused, too.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use luo_client::SessionName;
use luo_client::agent::Agent;
use luo_client::memory::Regions;
use luo_scenes::member::Member;
use luo_scenes::stage::until;

use crate::monitor::Monitor;
use crate::patience::GUEST;

/// Bits of the state, by the byte in which they are, and what is said of them: of the length, so
/// that it ends early, and late; of the records; another version; another program's; a flag that
/// is not known; a part of the mark that the state was used.
const BITS: [(u64, &str); 7] = [
    (16, "checksum"),
    (22, "there is no room"),
    (5000, "checksum"),
    (8, "version"),
    (0, "does not begin"),
    (12, "it has flags"),
    (96, "whether it was used is damaged"),
];

pub(super) fn run(monitor: &mut Monitor, boot: usize) -> Result<()> {
    monitor.begin()?;
    let web = Member {
        name: "web".into(),
        bytes: 4096,
        ..Member::default()
    };
    if boot == 0 {
        monitor.stage.start(&web)?;
        monitor.stage.hear("web", "preserved")?;
        monitor.start()?;
        monitor.runs()?;
        monitor.goes_on()?;
        return monitor.jump();
    }
    for (offset, words) in BITS {
        flip(monitor, offset)?;
        refuses(monitor, GUEST, words)?;
        flip(monitor, offset)?;
    }
    // Under the name of a workload that is no guest.
    refuses(monitor, "web", "another program's")?;
    monitor.stage.start(&web)?;
    monitor.start()?;
    monitor.is_completed()?;
    monitor.runs()?;
    monitor.goes_on()
}

/// A luo-vmm ends with the code of what cannot be resumed, and says why.
fn refuses(monitor: &Monitor, name: &str, words: &str) -> Result<()> {
    monitor.start_as(name, None)?;
    let status = monitor.ended()?;
    ensure!(status.code() == Some(65), "{status}\n{}", monitor.log());
    ensure!(monitor.lines(words) >= 1, "{words}: {}", monitor.log());
    Ok(())
}

/// Changes a bit of the state, as the workload itself could.
fn flip(monitor: &Monitor, offset: u64) -> Result<()> {
    let name = SessionName::new(GUEST)?;
    let agent = || Agent::connect_to(&monitor.stage.runtime())?.register(GUEST, &[]);
    let mut workload = None;
    until("that the guest's place is free", || {
        workload = agent().ok();
        Ok(workload.is_some())
    })?;
    let mut workload = workload.context("not registered")?;
    let claim = workload.claim(&name)?;
    let regions = Regions::restore_from(&claim.session)?;
    let state: &File = regions.get("state").context("no state")?.file();
    let mut byte = [0];
    state.read_exact_at(&mut byte, offset)?;
    state.write_all_at(&[byte[0] ^ 1], offset)?;
    Ok(())
}
