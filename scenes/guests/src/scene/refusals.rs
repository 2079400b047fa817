// SPDX-License-Identifier: MIT OR Apache-2.0
//! What cannot survive is refused: when the guest is started, or when an update is prepared.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use luo_qemu::qmp::Qmp;
use serde_json::json;

use super::signals::kill;
use crate::machine::Machine;

pub(super) fn run(machine: &mut Machine, _boot: usize) -> Result<()> {
    machine.begin()?;
    at_the_start(machine, &machine.qemu)?;
    let control = machine.path("control").display().to_string();
    machine.extra = [
        "-blockdev",
        "null-co,node-name=nothing,read-zeroes=on",
        "-device",
        "nvme,serial=1,drive=nothing",
        "-qmp",
        &format!("unix:{control},server=on,wait=off"),
    ]
    .map(str::to_owned)
    .into();
    machine.start()?;
    machine.runs()?;
    machine.counts_on()?;
    is_pinned(machine)?;
    let refused = |text: &str| {
        let Err(why) = machine.stage.update();
        let why = format!("{why:#}");
        ensure!(why.contains("workload 'vm' vetoes at prepare"), "{why}");
        ensure!(why.contains(text), "{why}");
        Ok(())
    };
    refused("nvme")?;
    // It was told before anybody asked.
    ensure!(
        machine.lines("an update would be refused: ") >= 1,
        "{}",
        machine.log()
    );

    let (disk, away) = (machine.path("disk"), machine.path("away"));
    fs::rename(&disk, &away)?;
    refused("disk is not there any more")?;
    fs::copy(&away, &disk)?;
    refused("is another file by now")?;
    fs::rename(&away, &disk)?;

    let soon = Instant::now() + Duration::from_secs(60);
    let mut qmp = Qmp::connect(Path::new(&control), soon, || true)?;
    let device = json!({"driver": "virtio-rng-pci", "id": "plugged"});
    qmp.call("device_add", device, soon)?;
    refused("/machine/peripheral/plugged was plugged in")?;
    let memory = json!({"qom-type": "memory-backend-ram", "id": "foreign", "size": 1 << 20});
    qmp.call("object-add", memory, soon)?;
    refused("the memory 'foreign' is not luo-qemu's")?;
    machine.counts_on()?;
    machine.runs()?;
    kill(machine.qemu_process()?)
}

/// Before there is a guest.
fn at_the_start(machine: &Machine, qemu: &Path) -> Result<()> {
    for extra in [
        &["-cpu", "host"][..],
        &["-m", "512"],
        &["-numa", "node"],
        &["-object", "memory-backend-ram,id=x,size=1M"],
        &["-machine", "no-such-machine"],
    ] {
        let (code, said) = machine.refuses(qemu, extra)?;
        ensure!(code == Some(78), "{extra:?}: {code:?} {said}");
        ensure!(said.contains("\n  -> "), "{extra:?}: {said}");
    }
    // What is no QEMU, and a QEMU that is too old where this machine has one.
    let (code, _) = machine.refuses(Path::new("/bin/true"), &[])?;
    ensure!(code == Some(78), "{code:?}");
    let (code, _) = machine.refuses(Path::new("/nowhere/qemu"), &[])?;
    ensure!(code == Some(71), "{code:?}");
    Ok(())
}

/// The machine type is no alias any more.
fn is_pinned(machine: &Machine) -> Result<()> {
    let line = std::fs::read_to_string(format!("/proc/{}/cmdline", machine.qemu_process()?))?;
    ensure!(line.contains("type=pc-i440fx-"), "{line}");
    Ok(())
}
