// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens to a guest, boot by boot.

mod damaged;
mod disks;
mod ends;
mod gap;
mod kills;
mod linux;
mod memory;
mod pair;
mod refusals;
mod signals;
mod stuck;
mod tutorial;
mod updates;
mod upgraded;

use anyhow::{Result, ensure};
use luo_scenes::member::Member;
use luo_varlink::Step;

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
    scene("update", 3, updates::update),
    scene("five", 6, updates::five),
    scene("gap", 4, gap::run),
    scene("two", 3, updates::two),
    scene("twenty", 21, updates::twenty),
    scene("huge", 3, updates::huge),
    scene("nodes", 3, updates::nodes),
    scene("veto", 2, veto),
    scene("hung", 2, stuck::hung),
    scene("qemu-killed", 2, stuck::killed),
    scene("kills-before", 2, kills::before),
    scene("kills-after", 4, kills::after),
    scene("ends", 2, ends::run),
    scene("damaged", 2, damaged::run),
    scene("upgraded", 3, upgraded::run),
    scene("refusals", 1, refusals::run),
    scene("memory", 2, memory::run),
    scene("disks", 3, disks::run),
    scene("pair", 3, pair::datagrams),
    scene("pair-taps", 3, pair::taps),
    scene("linux", 3, linux::run),
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
