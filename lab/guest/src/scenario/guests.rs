// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scenes of `luo-scenes-guests` on a real kernel: a guest in QEMU goes over kexecs of its
//! host. The boot in which a scene ends is the one in which the next scene begins.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use luo_scenes_guests::machine::{Files, Machine};
use luo_scenes_guests::scene::Scene;

use super::scenes;
use crate::check::Suite;
use crate::init::Guest;
use crate::port;

const SUITE: Suite = Suite::new("guests");

/// QEMU, of Debian's packages.
pub(super) const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// The argument that names the scenes, in order, with a `+` between them.
const SCENES: &str = "scenes";

/// The files of all scenes, in memory.
const FOLDER: &str = "/tmp/guests";

/// The scene that ends in this boot, and then the next one up to its first jump.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    let names = guest.args.text(SCENES).context("no scenes are named")?;
    let mut begins = 0;
    for name in names.split('+') {
        let scene = Scene::find(name).with_context(|| format!("there is no scene '{name}'"))?;
        let boot = usize::try_from(guest.boot)?;
        let last = begins + scene.boots - 1;
        if (begins..last).contains(&boot) {
            // It returns only if the machine did not jump.
            let (mut machine, folder) = machine(guest, scene)?;
            let played = (scene.play)(&mut machine, boot - begins);
            return played.with_context(|| format!("{name}: {}", log_of(&folder)));
        }
        if boot == last {
            SUITE.case(name, || {
                let (mut machine, folder) = machine(guest, scene)?;
                let played = (scene.play)(&mut machine, boot - begins);
                played.with_context(|| log_of(&folder))?;
                machine.end()
            });
        }
        begins = last;
    }
    Ok(())
}

fn machine(guest: &Guest, scene: &Scene) -> Result<(Machine, PathBuf)> {
    let folder = Path::new(FOLDER).join(scene.name);
    let stage = scenes::stage_in(guest, &folder)?;
    let say = |line: &str| port::progress(line);
    let machine = Machine::new(stage, QEMU.as_ref(), Files::Kept, say)?;
    Ok((machine, folder))
}

/// The ends of the logs, for a scene that went wrong.
fn log_of(folder: &Path) -> String {
    /// Lines that tell enough.
    const LINES: usize = 20;
    let ends = ["luo-qemu.log", "luod.log"].map(|name| {
        let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    });
    ends.join("\n")
}
