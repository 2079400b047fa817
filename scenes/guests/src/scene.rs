// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens to a guest, boot by boot.

mod damaged;
mod ends;
mod kills;
mod pair;
mod refusals;
mod signals;
mod stuck;
mod tutorial;
mod upgraded;

use anyhow::{Context, Result, ensure};
use luo_scenes::member::Member;
use luo_scenes::stage::until;
use luo_varlink::Step;
use rustix::process::Signal;

use self::signals::send;
use crate::machine::Machine;

/// A scene. Its last boot is the one in which it ends without a jump.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// Its name.
    pub name: &'static str,
    /// In how many boots it plays.
    pub boots: usize,
    /// Plays what happens in a boot, counted from zero. It does not return if that ends with a
    /// jump.
    pub play: fn(&mut Machine, usize) -> Result<()>,
}

/// All of them.
pub const SCENES: &[Scene] = &[
    scene("update", 3, update),
    scene("five", 6, five),
    scene("veto", 2, veto),
    scene("hung", 2, stuck::hung),
    scene("qemu-killed", 2, stuck::killed),
    scene("kills-before", 2, kills::before),
    scene("kills-after", 4, kills::after),
    scene("ends", 2, ends::run),
    scene("damaged", 2, damaged::run),
    scene("upgraded", 3, upgraded::run),
    scene("refusals", 1, refusals::run),
    scene("pair", 3, pair::run),
    scene("tutorial", 3, tutorial::run),
];

const fn scene(
    name: &'static str,
    boots: usize,
    play: fn(&mut Machine, usize) -> Result<()>,
) -> Scene {
    Scene { name, boots, play }
}

impl Scene {
    /// The scene of a name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        SCENES.iter().find(|scene| scene.name == name)
    }
}

/// Two updates in a row.
fn update(machine: &mut Machine, boot: usize) -> Result<()> {
    updates(machine, boot, 2)
}

/// Five in a row: what each adds, to a clock or to memory in use, would add up.
fn five(machine: &mut Machine, boot: usize) -> Result<()> {
    updates(machine, boot, 5)
}

/// So many updates in a row, in which nothing of the RAM is copied.
fn updates(machine: &mut Machine, boot: usize, count: usize) -> Result<()> {
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
        is_mapped(machine, 256 << 20)?;
    }
    machine.runs()?;
    machine.counts_on()?;
    if boot < count {
        return machine.jump();
    }
    quits(machine)
}

/// Fewer bytes than 1 MiB were copied of a RAM of this size, which QEMU has mapped.
fn is_mapped(machine: &Machine, memory: u64) -> Result<()> {
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

/// At the second signal QEMU is told to quit, which is no failure.
fn quits(machine: &Machine) -> Result<()> {
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

/// Another workload says no, when the guest stands still already. It goes on at once, and the next
/// update takes it along.
fn veto(machine: &mut Machine, boot: usize) -> Result<()> {
    machine.needs = vec!["web"];
    let machine = &*machine;
    machine.begin()?;
    machine.stage.start(&Member {
        name: "web".into(),
        veto: (boot == 0).then_some(Step::Freeze),
        bytes: 4096,
        ..Member::default()
    })?;
    machine.stage.hear("web", "preserved")?;
    machine.start()?;
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
