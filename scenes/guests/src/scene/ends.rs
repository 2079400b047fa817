// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a guest ends: the exit status says so, and the agent forgets it. A QEMU that ends while
//! its guest stands still is no loss.

use anyhow::{Result, ensure};

use super::signals::kill;
use crate::image::{self, Act};
use crate::machine::Machine;

pub(super) fn run(machine: &mut Machine, boot: usize) -> Result<()> {
    machine.begin()?;
    if boot > 0 {
        machine.start()?;
        machine.is_completed()?;
        machine.runs()?;
        return machine.counts_on();
    }
    by_itself(machine)?;
    crashed(machine)?;

    // A new guest, whose QEMU ends while it stands still: first the update is called off.
    std::fs::remove_file(machine.path("serial"))?;
    machine.start()?;
    machine.runs()?;
    machine.counts_on()?;
    let mut admin = machine.stage.admin()?;
    admin.prepare(machine.stage.target())?;
    admin.freeze()?;
    kill(machine.qemu_process()?)?;
    admin.cancel(Some("the window has closed"))?;
    machine.counts_on()?;
    machine.runs()?;
    // Then the machine jumps without it.
    admin.prepare(machine.stage.target())?;
    admin.freeze()?;
    kill(machine.qemu_process()?)?;
    let why = admin.kexec();
    anyhow::bail!("the machine did not jump: {why:?}")
}

/// The guest shuts down, and panics.
fn by_itself(machine: &mut Machine) -> Result<()> {
    machine.extra = vec!["-device".into(), "pvpanic".into()];
    for (act, code) in [(Act::PowerOff, 0), (Act::Panic, 80)] {
        image::write(&machine.path("disk"), Some((0x90000, act)))?;
        machine.start()?;
        let status = machine.ended()?;
        ensure!(
            status.code() == Some(code),
            "{act:?}: {status}\n{}",
            machine.log()
        );
        machine.is_forgotten()?;
        std::fs::remove_file(machine.path("serial"))?;
    }
    machine.extra.clear();
    image::write(&machine.path("disk"), None)
}

/// QEMU ends by a signal.
fn crashed(machine: &Machine) -> Result<()> {
    machine.start()?;
    machine.runs()?;
    machine.counts_on()?;
    kill(machine.qemu_process()?)?;
    let status = machine.ended()?;
    ensure!(status.code() == Some(70), "{status}\n{}", machine.log());
    ensure!(
        machine.lines("killed by signal 9") >= 1,
        "{}",
        machine.log()
    );
    machine.is_forgotten()
}
