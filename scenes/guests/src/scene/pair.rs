// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two guests that talk to each other go through updates together: neither needs the other, so they stand
//! still at the same time, and after the jump they go on with what they were talking about.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use luo_scenes::stage::within;
use luo_varlink::{HistoryEntry, Phase, TimelineKind};

use crate::machine::Machine;
use crate::patience::PATIENCE;
use crate::talk;

/// The names of both.
const NAMES: [&str; 2] = ["left", "right"];

/// How far they come in a boot, at least.
const STEP: u64 = 0x80;

/// What connects them.
#[derive(Clone, Copy)]
enum Cable {
    /// QEMU's own datagrams.
    Datagrams,
    /// Tap devices that are there before QEMU, at a bridge.
    Taps,
}

pub(super) fn datagrams(machine: &mut Machine, boot: usize) -> Result<()> {
    run(machine, boot, Cable::Datagrams)
}

/// In a network namespace of this boot.
pub(super) fn taps(machine: &mut Machine, boot: usize) -> Result<()> {
    ip("link add bridge type bridge")?;
    ip("link set bridge up")?;
    for name in NAMES {
        ip(&format!("tuntap add dev {name} mode tap"))?;
        ip(&format!("link set {name} master bridge up"))?;
    }
    run(machine, boot, Cable::Taps)
}

fn ip(words: &str) -> Result<()> {
    let status = Command::new("ip").args(words.split(' ')).status()?;
    ensure!(status.success(), "ip {words}: {status}");
    Ok(())
}

fn run(machine: &mut Machine, boot: usize, cable: Cable) -> Result<()> {
    for name in NAMES {
        machine.keep_beside(name);
    }
    machine.begin()?;
    let [mut left, mut right] = [machine.beside(NAMES[0])?, machine.beside(NAMES[1])?];
    for (one, other) in [(&mut left, NAMES[1]), (&mut right, NAMES[0])] {
        if boot == 0 {
            talk::write(&one.path("disk"))?;
        }
        let path = |name| machine.path(name).join("net").display().to_string();
        let network = match cable {
            Cable::Datagrams => format!(
                "dgram,id=n,local.type=unix,local.path={},remote.type=unix,remote.path={}",
                path(one.name),
                path(other)
            ),
            Cable::Taps => format!("tap,id=n,ifname={},script=no,downscript=no", one.name),
        };
        one.extra = [
            "-netdev",
            &network,
            "-device",
            "ne2k_isa,netdev=n,iobase=0x300,irq=9",
        ]
        .map(str::to_owned)
        .into();
        one.start()?;
    }
    if boot > 0 {
        let entry = left.is_completed()?;
        stood_still_together(&entry)?;
    }
    for one in [&left, &right] {
        one.runs()?;
        let before = said(one)?;
        let what = format!("that {} gets on from {before:#x}", one.name);
        let talked = within(PATIENCE, &what, || Ok(said(one)? >= before + STEP));
        talked.with_context(|| one.log())?;
        ensure!(one.lines("for an update: ") == 0, "{}", one.log());
    }
    match boot {
        2 => [left, right].iter().try_for_each(Machine::end_guest),
        _ => left.jump(),
    }
}

fn said(one: &Machine) -> Result<u64> {
    talk::read(&fs::read_to_string(one.path("serial")).unwrap_or_default())
}

/// Each was asked to stand still before either had done so.
fn stood_still_together(entry: &HistoryEntry) -> Result<()> {
    let mut asked = 0;
    for event in &entry.timeline {
        let is_guest = NAMES
            .iter()
            .any(|name| event.workload.as_deref() == Some(name));
        if event.phase != Phase::Freezing || !is_guest {
            continue;
        }
        match event.kind {
            TimelineKind::Asked => asked += 1,
            TimelineKind::Agreed => {
                ensure!(asked == NAMES.len(), "{:?}", entry.timeline);
                return Ok(());
            }
            _ => {}
        }
    }
    bail!("nobody was asked: {:?}", entry.timeline)
}
