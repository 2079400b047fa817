// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens to a guest, boot by boot.

mod damaged;
mod ends;
mod kills;
mod refusals;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use luo_scenes::member::Member;
use luo_scenes::stage::{Stage, until};
use luo_varlink::Step;
use rustix::process::{Pid, Signal, kill_process};

use crate::machine::{GUEST, Machine};

/// Plays a scene in this boot.
pub(crate) fn run(name: &str, folder: &Path, system: &Path, qemu: &Path) -> Result<()> {
    let boot: usize = std::env::var("LUO_SIM_BOOT")?.parse()?;
    let stage = Stage::simulated(folder, system)?;
    let machine = Machine::new(stage, folder, qemu)?;
    match name {
        "update" => update(&machine, boot),
        "veto" => veto(machine, boot),
        "kills-before" => kills::before(&machine, boot),
        "kills-after" => kills::after(&machine, boot),
        "refusals" => refusals::run(machine, qemu),
        "ends" => ends::run(machine, boot),
        "damaged" => damaged::run(&machine, boot),
        _ => bail!("there is no scene '{name}'"),
    }
}

/// Two updates in a row, in which nothing of the RAM is copied.
fn update(machine: &Machine, boot: usize) -> Result<()> {
    machine.stage.start_agent("")?;
    machine.start(None)?;
    if boot > 0 {
        let entry = machine.is_completed()?;
        let blackout = entry.blackout_us.context("no blackout was measured")?;
        println!("hop {boot}: the blackout took {} ms", blackout / 1000);
        ensure!(machine.lines("resumed: ") == boot, "{}", machine.log());
        is_mapped(machine)?;
    }
    machine.runs()?;
    machine.counts_on()?;
    if boot < 2 {
        return machine.jump();
    }
    quits(machine)
}

/// Fewer bytes than 1 MiB were copied of 256 MiB, which QEMU has mapped.
fn is_mapped(machine: &Machine) -> Result<()> {
    let log = machine.log();
    let (_, last) = log.rsplit_once("resumed: ").context("nothing resumed")?;
    let bytes: u64 = last.split(' ').next().unwrap_or_default().parse()?;
    ensure!(bytes > 0 && bytes < 1 << 20, "{bytes} bytes were copied");
    println!("{bytes} bytes were copied");
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", machine.qemu_process()?))?;
    let is_ram = |line: &str| {
        let range = line
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'));
        let number = |text| u64::from_str_radix(text, 16).unwrap_or_default();
        let size = range.map(|(from, to)| number(to) - number(from));
        line.contains("/memfd:") && line.contains(" rw-s ") && size == Some(256 << 20)
    };
    ensure!(maps.lines().any(is_ram), "QEMU has no such memory: {maps}");
    Ok(())
}

/// At the second signal QEMU is told to quit, which is no failure.
fn quits(machine: &Machine) -> Result<()> {
    let process = machine.process()?;
    let pid = Pid::from_raw(process.try_into()?).context("its number")?;
    kill_process(pid, Signal::TERM)?;
    until("that the guest is asked", || {
        Ok(machine.lines("the guest is asked to shut down") > 0)
    })?;
    kill_process(pid, Signal::TERM)?;
    let status = machine.ended()?;
    ensure!(status.code() == Some(0), "{status}\n{}", machine.log());
    machine.is_forgotten()
}

/// Another workload says no, when the guest stands still already. It goes on at once, and the next
/// update takes it along.
fn veto(mut machine: Machine, boot: usize) -> Result<()> {
    machine.needs = Some("web");
    let machine = &machine;
    machine.stage.start_agent("")?;
    machine.stage.start(&Member {
        name: "web".into(),
        veto: (boot == 0).then_some(Step::Freeze),
        bytes: 4096,
        ..Member::default()
    })?;
    machine.stage.hear("web", "preserved")?;
    machine.start(None)?;
    if boot > 0 {
        machine.is_completed()?;
        machine.runs()?;
        return machine.counts_on();
    }
    machine.runs()?;
    machine.counts_on()?;
    let Err(why) = machine.stage.update();
    let why = format!("{why:#}");
    ensure!(why.contains("'web' vetoes at freeze"), "{why}");
    ensure!(
        machine.lines("state is written: ") == 1,
        "{}",
        machine.log()
    );
    ensure!(
        machine.lines("the update is called off: ") == 1,
        "{}",
        machine.log()
    );
    machine.counts_on()?;
    machine.runs()?;
    machine.jump()
}

/// Kills a process at once.
fn kill(process: u32) -> Result<()> {
    let pid = Pid::from_raw(process.try_into()?).context("its number")?;
    kill_process(pid, Signal::KILL)?;
    let path = format!("/proc/{process}/stat");
    until("the end of a process", || {
        let stat = std::fs::read_to_string(&path).unwrap_or_default();
        Ok(stat.is_empty() || stat.contains(") Z "))
    })
}
