// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scenes of `luo-scenes-guests` with `luo-vmm` on a real kernel: a guest in KVM goes over
//! kexecs of its host.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use luo_scenes_guests::monitor::Monitor;
use luo_scenes_guests::monitor::scene::Scene;

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
    module::load_kvm(&guest.line)?;
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
    let stage = scenes::stage_with_kvm(guest, &folder)?;
    let monitor = Monitor::new(stage, scene.kind, |line| port::progress(line))?;
    Ok((monitor, folder))
}
