// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine with an agent and a guest, in one boot.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, bail, ensure};
use luo_monitor::point::Point;
use luo_scenes::stage::{Stage, within};
use luo_varlink::{HistoryEntry, paths};
use rustix::process::{Pid, Signal, kill_process};

use crate::bare;
use crate::command::{KILLED_AT, QEMU_KILLED_AT};
use crate::image::{self, STEP};
use crate::keeper::{self, Keeper, More};
pub use crate::patience::GUEST;
use crate::patience::{DEADLINES, PATIENCE};
use crate::steps;
use crate::ticks::{Tick, Ticks};
use crate::watch;

/// What becomes of the files of a scene at a jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// They stay where they are, as on a disk.
    Stay,
    /// They are in memory, and a keeper takes along what the next boot needs.
    Kept,
}

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

/// What the firmware says last, before dots and the guest.
const FIRMWARE: &str = "Booting from Hard Disk";

/// Who is killed at a step of luo-qemu's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Killed {
    /// luo-qemu itself.
    Own(Point),
    /// Its QEMU.
    Qemu(Point),
}

/// A machine in one boot, with a guest.
pub struct Machine {
    pub(crate) stage: Rc<Stage>,
    /// The guest's name.
    pub(crate) name: &'static str,
    /// The guest's files.
    folder: PathBuf,
    pub(crate) qemu: PathBuf,
    files: Files,
    say: fn(&str),
    /// Files that the keeper takes along beside those that each guest has.
    pub(crate) kept: Vec<More>,
    /// Workloads that the guest needs, beside the keeper.
    pub(crate) needs: Vec<&'static str>,
    /// Its RAM, as luo-qemu is told it.
    pub(crate) memory: &'static str,
    /// Options of luo-qemu beside those that each guest has.
    pub(crate) options: Vec<&'static str>,
    /// Arguments for QEMU beside those that each guest has.
    pub(crate) extra: Vec<String>,
    /// The guest's processor is KVM's, and not emulated.
    pub in_kvm: bool,
    /// The machine's time goes by its instructions, a nanosecond each, however busy its host is.
    pub is_counted: bool,
    /// The machine type of QEMU's.
    pub(crate) kind: &'static str,
    /// The guest is the bare one, with so many processors.
    bare: Option<u32>,
    /// The firmware speaks on the guest's serial port first.
    pub(crate) firmware_speaks: bool,
    /// What the processor's counter said when this boot's first program began, if that is known.
    pub init: Option<u64>,
    /// What has to be done before a guest is started, and is under way.
    ready: RefCell<Option<JoinHandle<Result<()>>>>,
    /// luo-qemu notes when it was done with each of its steps.
    pub(crate) notes_steps: bool,
    /// Who looks at the guest's steps, in scenes that want to know of them.
    ticks: RefCell<Option<Ticks>>,
    running: RefCell<Option<Child>>,
    keeper: RefCell<Option<Keeper>>,
}

impl Machine {
    /// A machine whose files are in the folder of a stage. What is worth to be told is said
    /// to `say`.
    ///
    /// # Errors
    /// The guest's disk cannot be written.
    pub fn new(stage: Stage, qemu: &Path, files: Files, say: fn(&str)) -> Result<Self> {
        let folder = stage.folder().to_owned();
        Self::with(Rc::new(stage), GUEST, folder, qemu, files, say)
    }

    /// Another guest on the same machine, with files of its own. Where they are kept this machine's
    /// keeper does so, if it was told of them ([`Self::keep_beside`]).
    pub(crate) fn beside(&self, name: &'static str) -> Result<Self> {
        self.get_ready()?;
        let folder = self.stage.folder().join(name);
        fs::create_dir_all(&folder)?;
        let stage = Rc::clone(&self.stage);
        let guest = Self::with(stage, name, folder, &self.qemu, self.files, self.say)?;
        Ok(Self {
            in_kvm: self.in_kvm,
            ..guest
        })
    }

    /// Has the keeper take along the files of a guest beside this one.
    pub(crate) fn keep_beside(&mut self, name: &str) {
        let files = keeper::FILES.into_iter();
        let files = files.map(|file| (format!("{name}/{file}"), keeper::ROOM));
        self.kept.extend(files);
    }

    fn with(
        stage: Rc<Stage>,
        name: &'static str,
        folder: PathBuf,
        qemu: &Path,
        files: Files,
        say: fn(&str),
    ) -> Result<Self> {
        let disk = folder.join("disk");
        if !disk.exists() {
            image::write(&disk, None)?;
        }
        Ok(Self {
            stage,
            name,
            folder,
            qemu: qemu.to_owned(),
            files,
            say,
            kept: Vec::new(),
            needs: Vec::new(),
            memory: "256M",
            options: Vec::new(),
            extra: Vec::new(),
            in_kvm: false,
            is_counted: false,
            kind: "pc",
            bare: None,
            firmware_speaks: false,
            init: None,
            notes_steps: false,
            ready: RefCell::default(),
            ticks: RefCell::default(),
            running: RefCell::default(),
            keeper: RefCell::default(),
        })
    }

    /// The agent, as it is directed.
    #[must_use]
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// A file of the guest's.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn say(&self, line: &str) {
        (self.say)(line);
    }

    /// Has the guest be the bare one, with so many processors: it sees its clock.
    pub(crate) fn be_bare(&mut self, processors: u32) -> Result<()> {
        self.bare = Some(processors);
        bare::write(&self.path("bare"), processors, None)
    }

    /// What the bare guest has said.
    pub(crate) fn bare_lines(&self) -> Result<Vec<bare::Line>> {
        bare::read(&fs::read_to_string(self.path("serial")).unwrap_or_default())
    }

    /// Starts the agent, and the keeper where one is needed; waits until the files are there.
    ///
    /// # Errors
    /// Something does not come up.
    pub fn begin(&self) -> Result<()> {
        if self.files == Files::Stay {
            return self.stage.start_agent("");
        }
        self.stage.start_agent(DEADLINES)?;
        *self.keeper.borrow_mut() = Some(Keeper::start(&self.stage, &self.kept)?);
        Ok(())
    }

    /// Does something while the agent comes up, which is done before a guest is started.
    pub fn meanwhile(&self, what: impl FnOnce() -> Result<()> + Send + 'static) {
        *self.ready.borrow_mut() = Some(std::thread::spawn(what));
    }

    /// Ends all that runs, for another scene in the same boot.
    ///
    /// # Errors
    /// Something cannot be ended.
    pub fn end(self) -> Result<()> {
        self.end_guest()?;
        if let Some(keeper) = self.keeper.take() {
            keeper.end()?;
        }
        let stage = Rc::into_inner(self.stage);
        stage.context("a guest beside this one is there")?.end()
    }

    /// Ends the guest.
    pub(crate) fn end_guest(&self) -> Result<()> {
        drop(self.ticks.take());
        if let Some(mut child) = self.running.take() {
            child.kill()?;
            child.wait()?;
        }
        // One that has ended is not there, or is somebody else by now.
        let process = self.qemu_process().unwrap_or_default();
        let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
        if name.starts_with("qemu")
            && let Some(pid) = Pid::from_raw(process.try_into()?)
        {
            kill_process(pid, Signal::KILL)?;
        }
        Ok(())
    }

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
        match self.bare {
            Some(processors) => {
                command.args(["-kernel", &show("bare")]);
                command.args(["-smp", &processors.to_string()]);
            }
            None => {
                let disk = format!("file={},format=raw,if=ide", show("disk"));
                command.args(["-drive", &disk]);
            }
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
    fn get_ready(&self) -> Result<()> {
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

    /// Looks at each step of the guest from here on.
    pub(crate) fn watch_ticks(&self) -> Result<()> {
        let sizes = self.memory.split(',').map(|size| {
            let size = size.strip_suffix('M').context("it is of MiB")?;
            Ok(size.parse::<u64>()? << 20)
        });
        let memory = sizes.sum::<Result<u64>>()?;
        let ticks = Ticks::watch(self.process()?, memory, &self.folder)?;
        *self.ticks.borrow_mut() = Some(ticks);
        Ok(())
    }

    /// The guest's last step before the jump and its first one after it.
    pub(crate) fn ticks_over_the_jump(&self) -> Result<(Tick, Tick)> {
        let ticks = self.ticks.borrow();
        let found = ticks.as_ref().and_then(Ticks::over_the_jump);
        found.context("the guest was not seen to stand still and go on")
    }

    /// How the luo-qemu has ended. It has to.
    pub(crate) fn ended(&self) -> Result<ExitStatus> {
        watch::ended(&self.running)
    }

    /// The luo-qemu has not ended, unless that was waited for.
    fn lives(&self) -> Result<()> {
        let mut running = self.running.borrow_mut();
        let ended = running.as_mut().map(Child::try_wait).transpose()?.flatten();
        match ended {
            Some(status) => bail!("luo-qemu has ended: {status}"),
            None => Ok(()),
        }
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
    ///
    /// # Errors
    /// One does not follow.
    pub fn counts(&self) -> Result<u64> {
        if self.bare.is_some() {
            let lines = self.bare_lines()?;
            return Ok(lines.last().map_or(0, |line| line.count));
        }
        let text = fs::read_to_string(self.path("serial")).unwrap_or_default();
        let text = match (text.rsplit_once(FIRMWARE), self.firmware_speaks) {
            (Some((_, rest)), true) => rest.trim_start_matches(['.', '\r', '\n']),
            (None, true) => "",
            (_, false) => &text,
        };
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
    ///
    /// # Errors
    /// It does not.
    pub fn counts_on(&self) -> Result<()> {
        let before = self.counts()?;
        let what = format!("that the guest counts on from {before:#x}");
        let counted = within(PATIENCE, &what, || {
            self.lives()?;
            Ok(self.counts()? >= before + 3 * STEP)
        });
        counted.with_context(|| self.log())
    }

    /// Waits until the agent has the guest, connected and running.
    ///
    /// # Errors
    /// It does not.
    pub fn runs(&self) -> Result<()> {
        let running = within(PATIENCE, "that the agent has the guest", || {
            self.lives()?;
            Ok(self.stage.all_run(&[self.name]).is_ok())
        });
        running.with_context(|| self.log())
    }

    /// Waits until the agent has forgotten the guest, and no update is under way.
    pub(crate) fn is_forgotten(&self) -> Result<()> {
        watch::is_forgotten(&self.stage, self.name)
    }

    /// Waits until the update is over, with everything back.
    ///
    /// # Errors
    /// It is not.
    pub fn is_completed(&self) -> Result<HistoryEntry> {
        watch::is_completed(&self.stage, || self.log())
    }

    /// Jumps.
    pub(crate) fn jump(&self) -> Result<()> {
        watch::jump(&self.stage, || self.log())
    }
}
