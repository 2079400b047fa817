// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine with an agent and a guest, in one boot.

use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use luo_qemu::point::Point;
use luo_scenes::stage::{Stage, within};
use luo_varlink::{HistoryEntry, Outcome, Phase, paths};

use crate::image::{self, STEP};

/// How long a guest may take to count on. Its firmware takes seconds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The name of the guest.
pub(crate) const GUEST: &str = "vm";

/// A machine in one boot.
pub(crate) struct Machine {
    pub(crate) stage: Stage,
    folder: PathBuf,
    qemu: PathBuf,
    /// What is given to each luo-qemu beside the guest.
    pub(crate) needs: Option<&'static str>,
    /// Arguments for QEMU beside those that each guest has.
    pub(crate) extra: Vec<String>,
    running: RefCell<Option<Child>>,
}

impl Machine {
    pub(crate) fn new(stage: Stage, folder: &Path, qemu: &Path) -> Result<Self> {
        let disk = folder.join("disk");
        if !disk.exists() {
            image::write(&disk, None)?;
        }
        Ok(Self {
            stage,
            folder: folder.to_owned(),
            qemu: qemu.to_owned(),
            needs: None,
            extra: Vec::new(),
            running: RefCell::default(),
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The command of a luo-qemu, with its log appended.
    pub(crate) fn command(&self, qemu: &Path, extra: &[&str]) -> Result<Command> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("luo-qemu.log"))?;
        let show = |name: &str| self.path(name).display().to_string();
        let mut command = Command::new("/proc/self/exe");
        command.args(["luo-qemu", "run", GUEST, "--memory", "256M"]);
        command.args(self.needs.map(|needs| format!("--needs={needs}")));
        command.arg("--").arg(qemu);
        command.args(["-nodefaults", "-display", "none"]);
        command.args([
            "-drive",
            &format!("file={},format=raw,if=ide", show("disk")),
        ]);
        let serial = format!("file,id=serial,path={},append=on", show("serial"));
        command.args(["-chardev", &serial, "-serial", "chardev:serial"]);
        command.args(&self.extra).args(extra);
        command
            .env(paths::RUNTIME_VARIABLE, self.stage.runtime())
            .env(luo_qemu::room::VARIABLE, self.path("guests"))
            .stdin(Stdio::null())
            .stderr(log);
        Ok(command)
    }

    /// Starts a luo-qemu, which is killed at a step or not.
    pub(crate) fn start(&self, killed_at: Option<Point>) -> Result<()> {
        let mut command = self.command(&self.qemu, &["-machine", "pc"])?;
        if let Some(point) = killed_at {
            command.env(crate::KILLED_AT, point.word());
        }
        let child = command.spawn()?;
        *self.running.borrow_mut() = Some(child);
        Ok(())
    }

    /// How the luo-qemu has ended. It has to.
    pub(crate) fn ended(&self) -> Result<ExitStatus> {
        let mut child = self
            .running
            .borrow_mut()
            .take()
            .context("none was started")?;
        let mut status = None;
        within(PATIENCE, "the end of luo-qemu", || {
            status = child.try_wait()?;
            Ok(status.is_some())
        })?;
        status.context("no status")
    }

    pub(crate) fn process(&self) -> Result<u32> {
        let running = self.running.borrow();
        Ok(running.as_ref().context("none was started")?.id())
    }

    /// Runs a luo-qemu that refuses; gives its exit code and what it said.
    pub(crate) fn refuses(&self, qemu: &Path, extra: &[&str]) -> Result<(Option<i32>, String)> {
        let before = self.log().len();
        let status = self.command(qemu, extra)?.status()?;
        let log = self.log();
        Ok((status.code(), log.get(before..).unwrap_or_default().into()))
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("luo-qemu.log")).unwrap_or_default()
    }

    /// The last QEMU's process, as luo-qemu has told it.
    pub(crate) fn qemu_process(&self) -> Result<u32> {
        let log = self.log();
        let (_, number) = log.rsplit_once("process ").context("no QEMU is told of")?;
        let number = number.lines().next().unwrap_or_default();
        Ok(number.trim().parse()?)
    }

    /// Lines of the log with a text.
    pub(crate) fn lines(&self, text: &str) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains(text))
            .count()
    }

    /// What the guest has counted, line by line. Each follows from the one before, from the
    /// first one on: nothing is left out, and nothing happens twice.
    pub(crate) fn counts(&self) -> Result<u64> {
        let text = fs::read_to_string(self.path("serial")).unwrap_or_default();
        let mut count = 0;
        // The last line may be under way.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines() {
            count += STEP;
            ensure!(
                line == format!("{count:08x}"),
                "after {:08x} the guest said: {line}",
                count - STEP
            );
        }
        Ok(count)
    }

    /// Waits until the guest has counted on.
    pub(crate) fn counts_on(&self) -> Result<()> {
        let before = self.counts()?;
        let what = format!("that the guest counts on from {before:#x}");
        let counted = within(PATIENCE, &what, || Ok(self.counts()? >= before + 3 * STEP));
        counted.with_context(|| self.log())
    }

    /// Waits until the agent has the guest, connected and running.
    pub(crate) fn runs(&self) -> Result<()> {
        let running = within(PATIENCE, "that the agent has the guest", || {
            Ok(self.stage.all_run(&[GUEST]).is_ok())
        });
        running.with_context(|| self.log())
    }

    /// Waits until the agent has forgotten the guest, and no update is under way.
    pub(crate) fn is_forgotten(&self) -> Result<()> {
        within(PATIENCE, "that the guest is forgotten", || {
            let status = self.stage.status()?;
            let mut workloads = status.workloads.iter();
            let is_there = workloads.any(|workload| workload.name == GUEST && workload.connected);
            Ok(!is_there && status.phase == Phase::Normal)
        })
    }

    /// Waits until the update is over, with everything back.
    pub(crate) fn is_completed(&self) -> Result<HistoryEntry> {
        let normal = within(PATIENCE, "the end of the update", || {
            Ok(self.stage.status()?.phase == Phase::Normal)
        });
        normal.with_context(|| self.log())?;
        let entry = self.stage.history()?.into_iter().next();
        let entry = entry.context("the history is empty")?;
        ensure!(entry.outcome == Outcome::Completed, "{entry:?}");
        Ok(entry)
    }

    /// Jumps.
    pub(crate) fn jump(&self) -> Result<()> {
        match self.stage.update() {
            Ok(never) => match never {},
            Err(why) => Err(why).with_context(|| self.log()),
        }
    }
}
