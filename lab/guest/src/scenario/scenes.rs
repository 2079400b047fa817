// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scenes of `luo-scenes` on a real kernel: the agent and several workloads go
//! through updates together. A scene a jump: what follows from one is seen in the next
//! kernel, which then plays the next scene.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use luo_scenes::scene;
use luo_scenes::stage::Stage;
use luo_scenes_guests::monitor;
use luo_varlink::Target;

use super::played::{self, ends_of};
use crate::check::Suite;
use crate::command_line::CommandLine;
use crate::init::Guest;
use crate::{kexec, module};

const SUITE: Suite = Suite::new("scenes");

/// Files of a boot, in memory: nothing of them is in the next kernel.
const FOLDER: &str = "/tmp/scenes";

/// The initramfs, as a file that can be loaded.
const INITRD: &str = "/tmp/initrd";

/// What is to be seen of the last scene, and then the next one up to its jump.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    played::run(
        guest,
        &SUITE,
        |name| Some((name, 2)),
        |name, part| {
            let stage = stage_in(guest, Path::new(FOLDER))?;
            let seen = scene::run(name, &stage, part.ends);
            let seen = seen.with_context(|| ends_of(stage.folder(), &["luod.log"]));
            if part.ends {
                stage.end()?;
            }
            seen
        },
    )
}

/// A stage whose target is the kernel that the scenario names next.
pub(crate) fn stage_in(guest: &Guest, folder: &Path) -> Result<Stage> {
    stage_with(guest, folder, |_| ())
}

/// The same with KVM here. What that takes for the frequency of the processor's counter the next
/// kernel is told: guests' clocks leap if it measures something else, for the processor cannot
/// scale them.
pub(crate) fn stage_with_kvm(guest: &Guest, folder: &Path) -> Result<Stage> {
    let khz = monitor::khz()?;
    stage_with(guest, folder, |line| line.set(module::EARLY, khz))
}

/// The same with KVM here, where the agent is to tell the next kernel what KVM takes for that frequency.
pub(crate) fn stage_with_clock_of_agents(guest: &Guest, folder: &Path) -> Result<Stage> {
    stage_with(guest, folder, |line| line.unset(module::EARLY))
}

/// The same; `edit` may change that kernel's command line.
fn stage_with(guest: &Guest, folder: &Path, edit: impl FnOnce(&mut CommandLine)) -> Result<Stage> {
    let image = kexec::next_kernel(guest)?;
    let target = Target {
        image: Some(image.display().to_string()),
        initrd: Some(INITRD.to_owned()),
        command_line: Some(guest.next_line(|line, _| edit(line)).to_line()?),
        ..Target::default()
    };
    let stage = Stage::new(folder, target, Path::new("/"))?;
    Ok(stage.with_files(|| kexec::copy_initrd(&mut File::create(INITRD)?)))
}
