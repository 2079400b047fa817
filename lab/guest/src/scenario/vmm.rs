// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scenes of `luo-scenes-guests` with `luo-vmm` on a real kernel: a guest in KVM goes over
//! kexecs of its host. The boot in which a scene ends is the one in which the next scene begins.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use luo_scenes_guests::monitor::scene::Scene;
use luo_scenes_guests::monitor::{self, Monitor};

use super::scenes;
use crate::check::Suite;
use crate::init::Guest;
use crate::{module, port};

const SUITE: Suite = Suite::new("vmm");

/// The argument that names the scenes, in order, with a `+` between them.
const SCENES: &str = "scenes";

/// The files of all scenes, in memory.
const FOLDER: &str = "/tmp/vmm";

/// The scene that ends in this boot, and then the next one up to its first jump.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    module::load_kvm(guest)?;
    let names = guest.args.text(SCENES).context("no scenes are named")?;
    let mut begins = 0;
    for name in names.split('+') {
        let scene = Scene::find(name).with_context(|| format!("there is no scene '{name}'"))?;
        let boot = usize::try_from(guest.boot)?;
        let last = begins + scene.boots - 1;
        if (begins..last).contains(&boot) {
            // It returns only if the machine did not jump.
            let (mut monitor, folder) = machine(guest, scene)?;
            let played = (scene.play)(&mut monitor, boot - begins);
            return played.with_context(|| format!("{name}: {}", log_of(&folder)));
        }
        if boot == last {
            SUITE.case(name, || {
                let (mut monitor, folder) = machine(guest, scene)?;
                let played = (scene.play)(&mut monitor, boot - begins);
                played.with_context(|| log_of(&folder))?;
                monitor.end()
            });
        }
        begins = last;
    }
    Ok(())
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

/// The ends of the logs, for a scene that went wrong.
fn log_of(folder: &Path) -> String {
    /// Lines that tell enough.
    const LINES: usize = 20;
    let ends = ["luo-vmm.log", "luod.log"].map(|name| {
        let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    });
    ends.join("\n")
}
