// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a luo-qemu is started.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, anyhow};
use luo_monitor::point::Point;
use luo_varlink::paths;

use super::{Begins, Files, Machine};
use crate::command::{KILLED_AT, QEMU_KILLED_AT};
use crate::{keeper, steps};

/// Has QEMU run the guest in KVM. The processor is one that each KVM can show; the kernels of the
/// tests have KVM without system management mode.
const KVM: [&str; 6] = [
    "-accel",
    "kvm",
    "-cpu",
    "qemu64",
    "-machine",
    "kernel-irqchip=split,smm=off",
];

/// Who is killed at a step of luo-qemu's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Killed {
    /// luo-qemu itself.
    Own(Point),
    /// Its QEMU.
    Qemu(Point),
}

impl Machine {
    /// A file of the guest's that is written at its end.
    pub(crate) fn appended(&self, name: &str) -> Result<File> {
        let mut options = OpenOptions::new();
        Ok(options.create(true).append(true).open(self.path(name))?)
    }

    /// The command of a luo-qemu, with its log appended.
    pub(crate) fn command(&self, qemu: &Path, extra: &[&str]) -> Result<Command> {
        let show = |name: &str| self.path(name).display().to_string();
        let mut command = Command::new("/proc/self/exe");
        command.args(["luo-qemu", "run", self.name, "--memory", self.memory]);
        // They are there in the next boot, wherever the files of a scene are.
        command.arg("--disks-in-memory").args(&self.options);
        let keeper = (self.files == Files::Kept).then_some(keeper::ARGUMENT);
        let needs: Vec<_> = keeper
            .into_iter()
            .chain(self.needs.iter().copied())
            .collect();
        if !needs.is_empty() {
            command.arg(format!("--needs={}", needs.join(",")));
        }
        command.arg("--").arg(qemu);
        command.args(["-nodefaults", "-display", "none"]);
        if self.in_kvm {
            command.args(KVM);
        }
        match self.begins {
            Begins::Bare(processors) => {
                command.args(["-kernel", &show("bare")]);
                command.args(["-smp", &processors.to_string()]);
            }
            Begins::Disk => {
                let disk = format!("file={},format=raw,if=ide", show("disk"));
                command.args(["-drive", &disk]);
            }
            Begins::Otherwise => {}
        }
        let serial = format!("file,id=serial,path={},append=on", show("serial"));
        command.args(["-chardev", &serial, "-serial", "chardev:serial"]);
        command.args(&self.extra).args(extra);
        self.set_up(&mut command)?;
        if self.notes_steps {
            command.env(steps::NOTED, "1");
        }
        Ok(command)
    }

    /// Where a luo-qemu finds the agent and keeps what it needs, and its log.
    pub(crate) fn set_up(&self, command: &mut Command) -> Result<()> {
        command
            .env(paths::RUNTIME_VARIABLE, self.stage.runtime())
            .env(luo_qemu::room::VARIABLE, self.stage.folder().join("guests"))
            .env(luo_qemu::keep::VARIABLE, self.stage.folder().join("kept"))
            .stdin(Stdio::null())
            .stderr(self.appended("luo-qemu.log")?);
        Ok(())
    }

    /// Starts a luo-qemu.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self) -> Result<()> {
        self.start_and_kill(None)
    }

    /// Starts a luo-qemu, and has it or its QEMU killed at a step.
    pub(crate) fn start_and_kill(&self, killed: Option<Killed>) -> Result<()> {
        let mut command = self.command(&self.qemu, &["-machine", self.kind])?;
        match killed {
            Some(Killed::Own(point)) => drop(command.env(KILLED_AT, point.word())),
            Some(Killed::Qemu(point)) => drop(command.env(QEMU_KILLED_AT, point.word())),
            None => {}
        }
        self.start_by(command)
    }

    /// Waits for what has to be done before a guest is started.
    pub(super) fn get_ready(&self) -> Result<()> {
        if let Some(ready) = self.ready.take() {
            let done = ready.join();
            done.map_err(|_| anyhow!("what was to be done before has panicked"))??;
        }
        Ok(())
    }

    /// Starts a luo-qemu by a command.
    pub(crate) fn start_by(&self, mut command: Command) -> Result<()> {
        self.get_ready()?;
        let child = command.spawn()?;
        *self.running.borrow_mut() = Some(child);
        Ok(())
    }

    /// Runs a luo-qemu that refuses; gives its exit code and what it said.
    pub(crate) fn refuses(&self, qemu: &Path, extra: &[&str]) -> Result<(Option<i32>, String)> {
        let before = self.log().len();
        let status = self.command(qemu, extra)?.status()?;
        let log = self.log();
        Ok((status.code(), log.get(before..).unwrap_or_default().into()))
    }
}
