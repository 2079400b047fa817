// SPDX-License-Identifier: MIT OR Apache-2.0
//! A QEMU that hangs or is killed in an update: whatever was running goes on.

use anyhow::{Result, ensure};
use luo_monitor::point::Point;
use rustix::process::Signal;

use super::signals::{kill, send};
use crate::machine::Killed;
use crate::machine::Machine;

/// QEMU does not answer at the freeze. The update is off, and the guest goes on with QEMU.
pub(super) fn hung(machine: &mut Machine, boot: usize) -> Result<()> {
    machine.begin()?;
    machine.start()?;
    if boot > 0 {
        machine.is_completed()?;
        machine.runs()?;
        return machine.counts_on();
    }
    machine.runs()?;
    machine.counts_on()?;
    let qemu = machine.qemu_process()?;
    let mut admin = machine.stage.admin()?;
    admin.prepare(machine.stage.target())?;
    send(qemu, Signal::STOP)?;
    let frozen = admin.freeze();
    send(qemu, Signal::CONT)?;
    let why = frozen.map_err(|why| why.to_string());
    ensure!(
        matches!(&why, Err(why) if why.contains("'vm'")),
        "{why:?}\n{}",
        machine.log()
    );
    machine.counts_on()?;
    machine.runs()?;
    machine.jump()
}

/// QEMU is killed while the guest runs in a prepared update, and after the jump before the guest
/// runs again. The first is the guest's end; the second is no loss.
pub(super) fn killed(machine: &mut Machine, boot: usize) -> Result<()> {
    machine.begin()?;
    if boot > 0 {
        for point in [Point::Waiting, Point::Loaded, Point::Used] {
            machine.start_and_kill(Some(Killed::Qemu(point)))?;
            let status = machine.ended()?;
            ensure!(status.code() == Some(65), "{status}\n{}", machine.log());
            machine.say(&format!("QEMU was killed at {}", point.word()));
        }
        machine.start()?;
        machine.is_completed()?;
        machine.runs()?;
        return machine.counts_on();
    }
    machine.start()?;
    machine.runs()?;
    machine.counts_on()?;
    let mut admin = machine.stage.admin()?;
    admin.prepare(machine.stage.target())?;
    kill(machine.qemu_process()?)?;
    let status = machine.ended()?;
    ensure!(status.code() == Some(70), "{status}\n{}", machine.log());
    machine.is_forgotten()?;
    std::fs::remove_file(machine.path("serial"))?;
    machine.start()?;
    machine.runs()?;
    machine.counts_on()?;
    machine.jump()
}
