// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU is upgraded while the guest runs, and the new one does not take the state: the one that
//! wrote it was kept, and the guest goes on in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use luo_varlink::TimelineKind;

use crate::machine::{GUEST, Machine};

pub(super) fn run(machine: &mut Machine, boot: usize) -> Result<()> {
    let script_path = machine.path("qemu");
    let real = std::mem::replace(&mut machine.qemu, script_path);
    let real = real.display();
    let script = match boot {
        // A QEMU that is asked what it knows has no machine for the device.
        0 => format!(
            "#!/bin/sh\n\
             case \" $* \" in *\" -machine none \"*) exec {real} \"$@\" ;; esac\n\
             exec {real} -device virtio-rng-pci,addr=9 \"$@\"\n"
        ),
        // It knows nothing of a device that has a state.
        1 => format!("#!/bin/sh\nexec {real} \"$@\"\n"),
        // It is none at all.
        _ => "#!/bin/sh\nexit 3\n".to_owned(),
    };
    fs::write(&machine.qemu, script)?;
    fs::set_permissions(&machine.qemu, fs::Permissions::from_mode(0o755))?;
    machine.begin()?;
    machine.start()?;
    if boot > 0 {
        let entry = machine.is_completed()?;
        ensure!(
            machine.lines("the QEMU that wrote it is started") == boot,
            "{}",
            machine.log()
        );
        let mut lines = entry.timeline.into_iter();
        let line = lines.find(|line| {
            line.kind == TimelineKind::Restored && line.workload.as_deref() == Some(GUEST)
        });
        let told = line.and_then(|line| line.detail);
        let told = told.context("the history does not say how the guest went on")?;
        for words in ["stood still for", "did not take it"] {
            ensure!(told.contains(words), "{told}");
        }
        machine.say(&told);
    }
    machine.runs()?;
    machine.counts_on()?;
    match boot {
        2 => Ok(()),
        _ => machine.jump(),
    }
}
