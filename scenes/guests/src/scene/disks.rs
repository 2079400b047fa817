// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest that writes to its disks all the time goes through updates: what it reads afterwards is what it
//! has written before, on a raw disk and on one that grows.

use std::fs;

use anyhow::{Context, Result};
use luo_scenes::stage::within;

use crate::machine::Machine;
use crate::patience::PATIENCE;
use crate::write::{self, ROUND};

/// Bytes that a disk's file may have.
const ROOM: u64 = 10 << 20;

pub(super) fn run(machine: &mut Machine, boot: usize) -> Result<()> {
    let growing = machine.path("growing");
    if boot == 0 {
        write::write(&machine.path("disk"), 2)?;
        write::write_growing(&growing)?;
    }
    let drive = format!("file={},format=qcow2,if=virtio", growing.display());
    machine.extra = vec!["-drive".into(), drive];
    // Where no disk goes over the jump the keeper does it.
    machine.kept = ["disk", "growing"]
        .map(|disk| (disk.to_owned(), ROOM))
        .into();
    machine.begin()?;
    machine.start()?;
    if boot > 0 {
        machine.is_completed()?;
    }
    machine.runs()?;
    let before = written(machine)?;
    // All that was written before is read.
    let what = format!("that the guest writes on from {before:#x}");
    let on = within(PATIENCE, &what, || {
        Ok(written(machine)? >= before + 2 * ROUND)
    });
    on.with_context(|| machine.log())?;
    match boot {
        2 => Ok(()),
        _ => machine.jump(),
    }
}

fn written(machine: &Machine) -> Result<u64> {
    write::read(&fs::read_to_string(machine.path("serial")).unwrap_or_default())
}
