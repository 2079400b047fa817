// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest whose devices have memory of their own, of which all is written with their state: there is room
//! for it without anybody saying so.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::machine::Machine;

/// Bytes of a ROM, more than the room that each guest has.
const ROM: u32 = 12 << 20;

pub(super) fn run(machine: &mut Machine, boot: usize) -> Result<()> {
    let rom = machine.path("rom");
    if boot == 0 {
        // Each page is another one than zeros.
        let words = (0..ROM / 4).map(|word| (word | 1).to_le_bytes());
        fs::write(&rom, words.flatten().collect::<Vec<_>>())?;
    }
    let device = format!("virtio-rng-pci,romfile={}", rom.display());
    machine.extra = vec!["-device".into(), device];
    machine.begin()?;
    machine.start()?;
    if boot > 0 {
        machine.is_completed()?;
        let log = machine.log();
        let (_, last) = log.rsplit_once("resumed: ").context("nothing resumed")?;
        let bytes: u32 = last.split(' ').next().unwrap_or_default().parse()?;
        ensure!(bytes > ROM, "{bytes} bytes of state");
    }
    machine.runs()?;
    machine.counts_on()?;
    match boot {
        0 => machine.jump(),
        _ => Ok(()),
    }
}
