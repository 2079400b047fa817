// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is asked of the agent.

use std::fs::{self, File};

use anyhow::{Context, Result, ensure};
use luo_client::agent::{Admin, Status};
use luo_scenes::stage::until;
use luo_varlink::{HistoryEntry, Phase, SessionInfo, WorkloadState};

use super::manager::{LUOD, property, systemctl};
use crate::init::Guest;
use crate::kexec;

/// The workloads: each is a service and a user of the same name.
pub(super) const WORKLOADS: [&str; 3] = ["cache", "leaver", "web"];

/// The one that leaves when it has got ready.
pub(super) const LEAVER: &str = "leaver";

/// The initramfs, as a file that can be loaded.
const INITRD: &str = "/run/initrd";

pub(super) fn status() -> Result<luo_varlink::Status> {
    Ok(Status::connect()?.get()?)
}

/// The updates that are over.
pub(super) fn history() -> Result<Vec<HistoryEntry>> {
    let mut history = Status::connect()?.history(100)?;
    history.retain(|entry| entry.outcome.is_over());
    Ok(history)
}

/// All sessions that the agent knows, by name, with what the kernel tells of them.
pub(super) fn sessions() -> Result<Vec<SessionInfo>> {
    let mut sessions = Admin::connect()?.sessions()?;
    sessions.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(sessions)
}

/// How many descriptors systemd keeps for the agent.
pub(super) fn kept() -> Result<usize> {
    Ok(property(LUOD, "NFileDescriptorStore")?.parse()?)
}

/// The workloads that are in a state.
pub(super) fn in_state(wanted: WorkloadState) -> Result<Vec<String>> {
    let workloads = status()?.workloads.into_iter();
    let found = workloads.filter(|workload| {
        workload.state == wanted && workload.connected == (wanted != WorkloadState::Left)
    });
    Ok(found.map(|workload| workload.name).collect())
}

/// Waits until the workloads of these names run, and no update is under way.
pub(super) fn all_run(names: &[&str]) -> Result<()> {
    until("all run", || {
        let is_normal = status().is_ok_and(|status| status.phase == Phase::Normal);
        Ok(is_normal && in_state(WorkloadState::Running).is_ok_and(|running| running == names))
    })
    .with_context(|| format!("{:?}", status()))
}

/// Configures how an update jumps, and into which kernel; takes that over.
pub(super) fn configure(guest: &Guest, jump: &str) -> Result<()> {
    let mut source = kexec::initrd()?;
    std::io::copy(&mut source, &mut File::create(INITRD)?)?;
    let image = kexec::next_kernel(guest)?.display().to_string();
    let line = guest.next_line(|_, _| ()).to_line()?;
    // What is lost so is known, and seen to be so.
    let ignore = match jump {
        "direct" => "[checks]\nignore = [\"jump-stores\"]\n",
        _ => "",
    };
    let text = format!(
        "jump = {jump:?}\n{ignore}[target]\nimage = {image:?}\ninitrd = {INITRD:?}\ncommand_line = {line:?}\n"
    );
    fs::write("/etc/luod/luod.toml", text)?;
    systemctl(&["restart", LUOD]).map(drop)
}

/// Waits for the end of the update that led into this kernel.
pub(super) fn completed() -> Result<HistoryEntry> {
    until("the end of the update", || {
        Ok(history().is_ok_and(|history| !history.is_empty()))
    })
    .with_context(|| format!("{:?}", status()))?;
    let mut history = history()?;
    ensure!(history.len() == 1, "{} updates", history.len());
    history.pop().context("no update")
}
