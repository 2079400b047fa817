// SPDX-License-Identifier: MIT OR Apache-2.0
//! Updates in a row, over which a guest loses nothing and nothing of its RAM is copied.

use anyhow::{Context, Result, ensure};
use luo_scenes::stage::until;
use rustix::process::Signal;

use super::signals::send;
use crate::machine::Machine;
use crate::monitor;

/// Two updates in a row.
pub(super) fn update(machine: &mut Machine, boot: usize) -> Result<()> {
    updates(machine, boot, 2)
}

/// Five in a row: what each adds, to a clock or to memory in use, would add up.
pub(super) fn five(machine: &mut Machine, boot: usize) -> Result<()> {
    updates(machine, boot, 5)
}

/// Two in a row, with RAM of huge pages.
pub(super) fn huge(machine: &mut Machine, boot: usize) -> Result<()> {
    machine.options = vec!["--huge=2M"];
    updates(machine, boot, 2)
}

/// Two in a row, with two NUMA nodes, in both of which is what the guest proves.
pub(super) fn nodes(machine: &mut Machine, boot: usize) -> Result<()> {
    machine.memory = "24M,232M";
    machine.extra = vec!["-smp".into(), "2,sockets=2".into()];
    updates(machine, boot, 2)
}

/// Two in a row, with two processors, of which each sees that the other goes on, and that its clock
/// is not ahead.
pub(super) fn two(machine: &mut Machine, boot: usize) -> Result<()> {
    machine.be_bare(2)?;
    updates(machine, boot, 2)
}

/// Twenty in a row, of a guest that looks at its clock all the time. While it stands still that does,
/// too, and neither a jump nor a stop of it is seen.
pub(super) fn twenty(machine: &mut Machine, boot: usize) -> Result<()> {
    /// What a clock that leaps leaps by at least is ten times that.
    const LONGEST_MS: u64 = 1500;
    machine.be_bare(1)?;
    updates_and(machine, boot, 20, |machine| {
        let khz = u64::from(monitor::khz()?);
        let lines = machine.bare_lines()?;
        let longest = lines.iter().map(|line| line.gap / khz).max();
        let longest = longest.context("the guest has said nothing")?;
        machine.say(&format!(
            "hop {boot}: the guest's longest step took {longest} ms"
        ));
        ensure!(longest <= LONGEST_MS, "its clock has leapt by {longest} ms");
        Ok(())
    })
}

/// So many updates in a row, in which nothing of the RAM is copied.
fn updates(machine: &mut Machine, boot: usize, count: usize) -> Result<()> {
    updates_and(machine, boot, count, |_| Ok(()))
}

/// The same; something is looked at in each boot, once the guest has counted on.
fn updates_and(
    machine: &mut Machine,
    boot: usize,
    count: usize,
    look: impl FnOnce(&Machine) -> Result<()>,
) -> Result<()> {
    machine.begin()?;
    machine.start()?;
    if boot > 0 {
        let entry = machine.is_completed()?;
        let blackout = entry.blackout_us.context("no blackout was measured")?;
        machine.say(&format!(
            "hop {boot}: the blackout took {} ms",
            blackout / 1000
        ));
        ensure!(machine.lines("resumed: ") == boot, "{}", machine.log());
        for size in machine.memory.split(',') {
            let size = size.strip_suffix('M').context("it is of MiB")?;
            is_mapped(machine, size.parse::<u64>()? << 20)?;
        }
        let is_huge = !machine.options.is_empty();
        ensure!(has_huge_pages(machine)? == is_huge, "RAM is of other pages");
    }
    machine.runs()?;
    machine.counts_on()?;
    look(machine)?;
    if boot < count {
        return machine.jump();
    }
    quits(machine)
}

/// Fewer bytes than 1 MiB were copied of a RAM of this size, which QEMU has mapped.
pub(super) fn is_mapped(machine: &Machine, memory: u64) -> Result<()> {
    let log = machine.log();
    let (_, last) = log.rsplit_once("resumed: ").context("nothing resumed")?;
    let bytes: u64 = last.split(' ').next().unwrap_or_default().parse()?;
    ensure!(bytes > 0 && bytes < 1 << 20, "{bytes} bytes were copied");
    machine.say(&format!("{bytes} bytes were copied"));
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", machine.qemu_process()?))?;
    let is_ram = |line: &str| {
        let range = line
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'));
        let number = |text| u64::from_str_radix(text, 16).unwrap_or_default();
        let size = range.map(|(from, to)| number(to) - number(from));
        // Mainline's kernel gives a memfd back without its name.
        line.ends_with(" (deleted)") && line.contains(" rw-s ") && size == Some(memory)
    };
    ensure!(maps.lines().any(is_ram), "QEMU has no such memory mapped");
    Ok(())
}

/// QEMU has RAM of huge pages.
fn has_huge_pages(machine: &Machine) -> Result<bool> {
    let maps = std::fs::read_to_string(format!("/proc/{}/smaps", machine.qemu_process()?))?;
    Ok(maps.contains("KernelPageSize:     2048 kB"))
}

/// At the second signal QEMU is told to quit, which is no failure.
pub(super) fn quits(machine: &Machine) -> Result<()> {
    let process = machine.process()?;
    send(process, Signal::TERM)?;
    until("that the guest is asked", || {
        Ok(machine.lines("the guest is asked to shut down") > 0)
    })?;
    send(process, Signal::TERM)?;
    let status = machine.ended()?;
    ensure!(status.code() == Some(0), "{status}\n{}", machine.log());
    machine.is_forgotten()
}
