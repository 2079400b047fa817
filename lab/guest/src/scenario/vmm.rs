// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scenes of `luo-scenes-guests` with `luo-vmm` on a real kernel: a guest in KVM goes over
//! kexecs of its host.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use luo_scenes_guests::monitor::scene::Scene;
use luo_scenes_guests::monitor::{self, Monitor};

use super::played::{self, ends_of};
use super::scenes;
use crate::check::Suite;
use crate::init::Guest;
use crate::{module, port};

const SUITE: Suite = Suite::new("vmm");

/// The files of all scenes, in memory.
const FOLDER: &str = "/tmp/vmm";

/// The scene that ends in this boot, and then the next one up to its first jump.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    module::load_kvm(guest)?;
    played::run(
        guest,
        &SUITE,
        |name| Scene::find(name).map(|scene| (scene, scene.boots)),
        |scene, part| {
            let (mut monitor, folder) = machine(guest, scene)?;
            let played = (scene.play)(&mut monitor, part.boot);
            played.with_context(|| ends_of(&folder, &["luo-vmm.log", "luod.log"]))?;
            if part.ends {
                monitor.end()?;
            }
            Ok(())
        },
    )
}

fn machine(guest: &Guest, scene: &Scene) -> Result<(Monitor, PathBuf)> {
    let folder = Path::new(FOLDER).join(scene.name);
    // What the kernel has measured, the next ones are told: guests' clocks leap if it measures
    // something else, for the processor cannot scale them.
    let khz = monitor::khz()?;
    let stage = scenes::stage_with(guest, &folder, |line| line.set(module::EARLY, khz))?;
    let monitor = Monitor::new(stage, scene.kind, |line| port::progress(line))?;
    Ok((monitor, folder))
}
