// SPDX-License-Identifier: MIT OR Apache-2.0
//! The programs of the simulated machine in one: the agent, `luoctl`, `luo-qemu`, and who directs
//! them at each boot.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use luo_scenes::stage::Stage;
use luo_scenes_guests::command;
use luo_scenes_guests::machine::{Files, Machine};
use luo_scenes_guests::offload::{self, Offload};
use luo_scenes_guests::scene::Scene;

fn main() -> ExitCode {
    if let Some(code) = command::run() {
        return code;
    }
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next();
    let (Some(name), Some(folder), Some(system), Some(qemu)) = (next(), next(), next(), next())
    else {
        eprintln!("usage: luo-scenes-guests SCENE FOLDER SYSTEM QEMU, in `luo-sim run`");
        eprintln!("SYSTEM is a folder that `luo-sim system` has written");
        return ExitCode::from(64);
    };
    match run(&name, folder.as_ref(), system.as_ref(), qemu.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("FAILED  {name}\n    {why:#}");
            ExitCode::FAILURE
        }
    }
}

/// Plays a scene in this boot.
fn run(name: &str, folder: &Path, system: &Path, qemu: &Path) -> Result<()> {
    if let Some(scene) = offload::scene::Scene::find(name) {
        let boot: usize = std::env::var("LUO_SIM_BOOT")?.parse()?;
        let say = |line: &str| println!("{line}");
        let mut machine = Offload::new(Stage::simulated(folder, system)?, say)?;
        return (scene.play)(&mut machine, boot);
    }
    let boot: usize = std::env::var("LUO_SIM_BOOT")?.parse()?;
    let scene = Scene::find(name).with_context(|| format!("there is no scene '{name}'"))?;
    let stage = Stage::simulated(folder, system)?;
    let say = |line: &str| println!("{line}");
    let mut machine = Machine::new(stage, qemu, Files::Stay, say)?;
    (scene.play)(&mut machine, boot)
}
