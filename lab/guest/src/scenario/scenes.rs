// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scenes of `luo-scenes` on a real kernel: the agent and several workloads go
//! through updates together. A scene a jump: what follows from one is seen in the next
//! kernel, which then plays the next scene.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use luo_scenes::scene;
use luo_scenes::stage::Stage;
use luo_varlink::Target;

use crate::check::Suite;
use crate::command_line::CommandLine;
use crate::init::Guest;
use crate::kexec;

const SUITE: Suite = Suite::new("scenes");

/// Argument: the scenes that are played, in this order, with a plus sign between them.
const CHOSEN: &str = "scenes";

/// Files of a boot, in memory: nothing of them is in the next kernel.
const FOLDER: &str = "/tmp/scenes";

/// The initramfs, as a file that can be loaded.
const INITRD: &str = "/tmp/initrd";

/// What is to be seen of the last scene, and then the next one up to its jump.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    let done = usize::try_from(guest.boot)?;
    let scenes: Vec<&str> = guest
        .args
        .text(CHOSEN)
        .context("no scenes are named")?
        .split('+')
        .collect();
    let played = done.checked_sub(1).and_then(|last| scenes.get(last));
    if let Some(&name) = played {
        let stage = stage(guest)?;
        SUITE.case(name, || {
            let seen = scene::run(name, &stage, true);
            seen.with_context(|| log_of(&stage))
        });
        stage.end()?;
    }
    let Some(name) = scenes.get(done) else {
        return Ok(());
    };
    let stage = stage(guest)?;
    // It returns only if the machine did not jump.
    scene::run(name, &stage, false).with_context(|| format!("{name}: {}", log_of(&stage)))
}

fn stage(guest: &Guest) -> Result<Stage> {
    stage_in(guest, Path::new(FOLDER))
}

/// A stage whose target is the kernel that the scenario names next.
pub(crate) fn stage_in(guest: &Guest, folder: &Path) -> Result<Stage> {
    stage_with(guest, folder, |_| ())
}

/// The same; `edit` may change that kernel's command line.
pub(crate) fn stage_with(
    guest: &Guest,
    folder: &Path,
    edit: impl FnOnce(&mut CommandLine),
) -> Result<Stage> {
    let mut source = kexec::initrd()?;
    std::io::copy(&mut source, &mut File::create(INITRD)?)?;
    let image = kexec::next_kernel(guest)?;
    let target = Target {
        image: Some(image.display().to_string()),
        initrd: Some(INITRD.to_owned()),
        command_line: Some(guest.next_line(|line, _| edit(line)).to_line()?),
        ..Target::default()
    };
    Stage::new(folder, target, Path::new("/"))
}

/// The end of the agent's log, for a scene that went wrong.
fn log_of(stage: &Stage) -> String {
    /// Lines that tell enough.
    const LINES: usize = 30;
    let text = fs::read_to_string(stage.folder().join("luod.log")).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
