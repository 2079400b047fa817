// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scenes of `luo-scenes-guests` on a real kernel: a guest in QEMU goes over kexecs of its
//! host.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use luo_scenes::stage::Stage;
use luo_scenes_guests::machine::{Files, Machine};
use luo_scenes_guests::scene::Scene;

use super::played::{self, ends_of};
use super::scenes;
use crate::check::Suite;
use crate::init::Guest;
use crate::{module, port};

const SUITE: Suite = Suite::new("guests");

/// QEMU, of Debian's packages.
const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// The files of all scenes, in memory.
const FOLDER: &str = "/tmp/guests";

/// How many huge pages there are.
const POOL: &str = "/proc/sys/vm/nr_hugepages";

/// Where luo-qemu's notes are.
const NOTES: &str = "/run/luo-qemu";

/// The argument that says that the guest's processor is KVM's.
const KVM: &str = "kvm";

/// The argument that says that the machine's time goes by instructions.
const COUNTED: &str = "counted";

/// The scene that ends in this boot, and then the next one up to its first jump.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    played::run(
        guest,
        &SUITE,
        |name| Scene::find(name).map(|scene| (scene, scene.boots)),
        |scene, part| {
            let (mut machine, folder) = machine(guest, scene)?;
            let played = (scene.play)(&mut machine, part.boot);
            played.with_context(|| ends_of(&folder, &["luo-qemu.log", "luod.log"]))?;
            if part.ends {
                machine.end()?;
            }
            Ok(())
        },
    )
}

/// Huge pages for the guest's RAM, in the first boot: later they come along.
fn provide_huge_pages(guest: &Guest, scene: &Scene) -> Result<()> {
    if scene.name == "huge" && guest.boot == 0 {
        fs::write(POOL, "128").context(POOL)?;
    }
    Ok(())
}

/// The agent looks for luo-qemu's notes where they are on each machine.
fn notes_are_read(folder: &Path) -> Result<()> {
    let _ = fs::remove_file(NOTES);
    fs::create_dir_all("/run")?;
    Ok(std::os::unix::fs::symlink(folder.join("guests"), NOTES)?)
}

fn machine(guest: &Guest, scene: &Scene) -> Result<(Machine, PathBuf)> {
    let folder = Path::new(FOLDER).join(scene.name);
    provide_huge_pages(guest, scene)?;
    let mut machine = match guest.args.text(KVM).is_some() {
        true => in_kvm(guest, &folder)?,
        false => new(scenes::stage_in(guest, &folder)?)?,
    };
    machine.is_counted = guest.args.text(COUNTED).is_some();
    machine.init = guest.started;
    Ok((machine, folder))
}

/// A machine with a guest in KVM, which is loaded while the agent comes up. The agent tells the next kernel
/// of the frequency of the guest's counter.
pub(super) fn in_kvm(guest: &Guest, folder: &Path) -> Result<Machine> {
    notes_are_read(folder)?;
    ensure!(
        guest.boot == 0 || guest.line.get(module::EARLY).is_some(),
        "the agent did not hand on the frequency of the guest's counter"
    );
    let mut machine = new(scenes::stage_with_clock_of_agents(guest, folder)?)?;
    machine.in_kvm = true;
    let line = guest.line.clone();
    machine.meanwhile(move || module::load_kvm(&line));
    Ok(machine)
}

fn new(stage: Stage) -> Result<Machine> {
    Machine::new(stage, QEMU.as_ref(), Files::Kept, |line| {
        port::progress(line)
    })
}
