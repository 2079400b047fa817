// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine with an agent and a guest of `luo-vmm`'s, in one boot.
//!
//! | module | concern |
//! |---|---|
//! | here | what a scene is made of |
//! | [`archive`] | an initramfs |
//! | [`guest`] | the guests: what they are started with, and what they say |
//! | [`inner`] | what a Linux guest runs |
//! | [`scene`] | what happens, boot by boot |

pub mod archive;
pub mod guest;
pub mod inner;
pub mod scene;

use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::io::{PipeReader, PipeWriter};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use luo_monitor::point::Point;
use luo_scenes::stage::{Stage, within};
use luo_varlink::{HistoryEntry, paths};
use rustix::io::Errno;

use crate::keeper::{self, Keeper};
use crate::patience::{DEADLINES, GUEST, PATIENCE};
use crate::watch;
use guest::Kind;

/// The variable that names the step at which a luo-vmm is killed.
pub(crate) const KILLED_AT: &str = "LUO_VMM_KILLED_AT";

/// The variable that names the step at which a luo-vmm waits until the guest has rung its doorbell:
/// it is luo-vmm's own thread that would hear it.
pub(crate) const RUNG_AT: &str = "LUO_VMM_RUNG_AT";

/// The file of what luo-vmm says.
pub(crate) const LOG: &str = "luo-vmm.log";

/// Where what a guest says goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// Into a file.
    Kept,
    /// Onto a disk that is full.
    FullDisk,
    /// Into a pipe that is full, and that nobody reads.
    FullPipe,
}

/// A machine in one boot.
pub struct Monitor {
    pub(crate) stage: Stage,
    /// The guest.
    pub(crate) kind: Kind,
    say: fn(&str),
    /// Workloads that the guest needs, beside the keeper.
    pub(crate) needs: Vec<&'static str>,
    /// Arguments for luo-vmm beside those that each guest has.
    pub(crate) extra: Vec<&'static str>,
    /// Where what the guest says goes to.
    pub(crate) words: Words,
    running: RefCell<Option<Child>>,
    /// The side of a pipe that nobody reads.
    unread: RefCell<Option<PipeReader>>,
    keeper: RefCell<Option<Keeper>>,
}

impl Monitor {
    /// A machine whose files are in the folder of a stage. What is worth to be told is said to
    /// `say`.
    ///
    /// # Errors
    /// The guest's program cannot be written.
    pub fn new(stage: Stage, kind: Kind, say: fn(&str)) -> Result<Self> {
        kind.write(stage.folder())?;
        Ok(Self {
            stage,
            kind,
            say,
            needs: Vec::new(),
            extra: Vec::new(),
            words: Words::Kept,
            running: RefCell::default(),
            unread: RefCell::default(),
            keeper: RefCell::default(),
        })
    }

    pub(crate) fn say(&self, line: &str) {
        (self.say)(line);
    }

    /// Starts the agent and the keeper; waits until the files of the boot before are there.
    ///
    /// # Errors
    /// Something does not come up.
    pub fn begin(&self) -> Result<()> {
        self.stage.start_agent(DEADLINES)?;
        *self.keeper.borrow_mut() = Some(Keeper::start(&self.stage, &[])?);
        Ok(())
    }

    /// Ends all that runs, for another scene in the same boot.
    ///
    /// # Errors
    /// Something cannot be ended.
    pub fn end(self) -> Result<()> {
        if let Some(mut child) = self.running.take() {
            child.kill()?;
            child.wait()?;
        }
        if let Some(keeper) = self.keeper.take() {
            keeper.end()?;
        }
        self.stage.end()
    }

    /// Starts a luo-vmm.
    pub(crate) fn start(&self) -> Result<()> {
        self.start_as(GUEST, None)
    }

    /// Starts a luo-vmm for a guest of a name, and has it killed at a step.
    pub(crate) fn start_as(&self, name: &str, killed: Option<Point>) -> Result<()> {
        let folder = self.stage.folder();
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join(LOG))?;
        let needs: Vec<_> = [keeper::ARGUMENT]
            .iter()
            .chain(&self.needs)
            .copied()
            .collect();
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["luo-vmm", "run", name, "--memory", "256M"])
            .arg(format!("--needs={}", needs.join(",")))
            .args(self.kind.arguments(folder)?)
            .args(&self.extra)
            .env(paths::RUNTIME_VARIABLE, self.stage.runtime())
            .stdin(Stdio::null())
            .stderr(log);
        if self.kind == Kind::Machine {
            command.env(RUNG_AT, Point::Freeze.word());
        }
        if let Some(point) = killed {
            command.env(KILLED_AT, point.word());
        }
        match self.words {
            Words::Kept => {
                command.arg("--serial").arg(folder.join("serial"));
            }
            Words::FullDisk => {
                command.args(["--serial", "/dev/full"]);
            }
            Words::FullPipe => {
                let (read, write) = std::io::pipe()?;
                fill(&write)?;
                command.stdout(write);
                *self.unread.borrow_mut() = Some(read);
            }
        }
        *self.running.borrow_mut() = Some(command.spawn()?);
        Ok(())
    }

    /// How the luo-vmm has ended. It has to.
    pub(crate) fn ended(&self) -> Result<ExitStatus> {
        watch::ended(&self.running)
    }

    pub(crate) fn process(&self) -> Result<u32> {
        let running = self.running.borrow();
        Ok(running.as_ref().context("none was started")?.id())
    }

    /// What luo-vmm has said, and the last words of the guest, for whoever looks for a mistake.
    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.stage.folder().join(LOG)).unwrap_or_default();
        let said = self.said();
        let lines: Vec<_> = said.lines().collect();
        let last = lines.len().saturating_sub(5);
        let last = lines.get(last..).unwrap_or_default().join("\n");
        format!("{log}{last}")
    }

    /// Lines of the log with a text.
    pub(crate) fn lines(&self, text: &str) -> usize {
        let log = fs::read_to_string(self.stage.folder().join(LOG)).unwrap_or_default();
        log.lines().filter(|line| line.contains(text)).count()
    }

    /// What the guest has said.
    pub(crate) fn said(&self) -> String {
        let bytes = fs::read(self.stage.folder().join("serial")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Forgets what the guest has said: another one begins.
    pub(crate) fn forget_said(&self) -> Result<()> {
        Ok(fs::remove_file(self.stage.folder().join("serial"))?)
    }

    /// Waits until the guest has gone on, and nothing of what it says is wrong.
    pub(crate) fn goes_on(&self) -> Result<()> {
        let before = self.kind.read(&self.said())?.ticks;
        let what = format!("that the guest goes on from {before}");
        let goes = within(PATIENCE, &what, || {
            Ok(self.kind.read(&self.said())?.ticks >= before + 3)
        });
        goes.with_context(|| self.log())
    }

    /// Waits until the agent has the guest, connected and running.
    pub(crate) fn runs(&self) -> Result<()> {
        watch::runs(&self.stage, || self.log())
    }

    /// Waits until the agent has forgotten the guest, and no update is under way.
    pub(crate) fn is_forgotten(&self) -> Result<()> {
        watch::is_forgotten(&self.stage, GUEST)
    }

    /// Waits until the update is over, with everything back.
    pub(crate) fn is_completed(&self) -> Result<HistoryEntry> {
        watch::is_completed(&self.stage, || self.log())
    }

    /// Jumps.
    pub(crate) fn jump(&self) -> Result<()> {
        watch::jump(&self.stage, || self.log())
    }
}

/// Waits at a step until an eventfd of this process has a count, if it is to.
pub(crate) fn wait_for_ring(point: Point) {
    if !std::env::var(RUNG_AT).is_ok_and(|word| word == point.word()) {
        return;
    }
    if let Err(why) = within(PATIENCE, "that the guest rings", has_rung) {
        eprintln!("luo-vmm: {why:#}");
    }
}

/// Whether an eventfd of this process has a count.
fn has_rung() -> Result<bool> {
    for about in fs::read_dir("/proc/self/fdinfo")? {
        // That of the folder itself is gone when it is read.
        let about = fs::read_to_string(about?.path()).unwrap_or_default();
        let mut lines = about.lines();
        let count = lines.find_map(|line| line.strip_prefix("eventfd-count:"));
        if count.is_some_and(|count| count.trim().bytes().any(|digit| digit != b'0')) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Fills a pipe. Whoever writes into it from then on waits.
fn fill(pipe: &PipeWriter) -> Result<()> {
    rustix::io::ioctl_fionbio(pipe, true)?;
    loop {
        match rustix::io::write(pipe, &[b'x'; 4096]) {
            Ok(_) => {}
            Err(Errno::AGAIN) => break,
            Err(why) => return Err(why.into()),
        }
    }
    Ok(rustix::io::ioctl_fionbio(pipe, false)?)
}

/// Ticks of the processor's counter in a millisecond, as KVM has them.
///
/// # Errors
/// KVM is not to be had.
pub fn khz() -> Result<u32> {
    Ok(luo_vmm::system::System::open()?.create()?.vcpu(0)?.khz()?)
}
