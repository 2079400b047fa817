// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine with an agent and a guest of `luo-ch`'s, in one boot. Its cloud-hypervisor is a peer
//! of ours.
//!
//! | module | concern |
//! |---|---|
//! | here | what a scene is made of |
//! | [`peer`] | a cloud-hypervisor, as its documents describe the offload |
//! | `wire` | its messages, byte by byte |
//! | [`scene`] | what happens, boot by boot |

pub mod peer;
pub mod scene;
mod wire;

use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use luo_monitor::point::Point;
use luo_scenes::stage::{Stage, within};
use luo_varlink::{HistoryEntry, paths};

use crate::patience::{GUEST, PATIENCE};
use crate::watch;

/// The variable that names the step at which a luo-ch is killed.
pub(crate) const KILLED_AT: &str = "LUO_CH_KILLED_AT";

/// MiB of the guest's memory.
const MEMORY: u64 = 16;

/// A machine in one boot.
pub struct Offload {
    pub(crate) stage: Stage,
    say: fn(&str),
    /// Workloads that the guest needs.
    pub(crate) needs: Vec<&'static str>,
    /// What the peer does wrong.
    pub(crate) fault: Option<peer::Fault>,
    running: RefCell<Option<Child>>,
}

impl Offload {
    /// A machine whose files are in the folder of a stage. What is worth to be told is said to
    /// `say`.
    ///
    /// # Errors
    /// The peer cannot be put where it is started from.
    pub fn new(stage: Stage, say: fn(&str)) -> Result<Self> {
        let program = stage.folder().join(peer::PROGRAM);
        if !program.exists() {
            std::os::unix::fs::symlink(std::env::current_exe()?, program)?;
        }
        Ok(Self {
            stage,
            say,
            needs: Vec::new(),
            fault: None,
            running: RefCell::default(),
        })
    }

    pub(crate) fn say(&self, line: &str) {
        (self.say)(line);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.stage.folder().join(name)
    }

    /// Starts the agent.
    pub(crate) fn begin(&self) -> Result<()> {
        self.stage.start_agent("")
    }

    /// Starts a luo-ch.
    pub(crate) fn start(&self) -> Result<()> {
        self.start_and_kill(None)
    }

    /// Starts a luo-ch, and has it killed at a step.
    pub(crate) fn start_and_kill(&self, killed: Option<Point>) -> Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("luo-ch.log"))?;
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["luo-ch", "run", GUEST])
            .args(["--within", "60", "--room"])
            .arg(self.path("room"));
        if !self.needs.is_empty() {
            command.arg(format!("--needs={}", self.needs.join(",")));
        }
        command
            .arg("--")
            .arg(self.path(peer::PROGRAM))
            .arg("--memory")
            .arg(format!("size={MEMORY}M,shared=on"))
            .arg("--log-file")
            .arg(self.path("counts"))
            .env(paths::RUNTIME_VARIABLE, self.stage.runtime())
            .env(peer::RECORD, self.path("record"))
            .stdin(Stdio::null())
            .stderr(log);
        if let Some(fault) = self.fault {
            command.env(peer::FAULT, fault.word());
        }
        if let Some(point) = killed {
            command.env(KILLED_AT, point.word());
        }
        *self.running.borrow_mut() = Some(command.spawn()?);
        Ok(())
    }

    /// How the luo-ch has ended. It has to.
    pub(crate) fn ended(&self) -> Result<ExitStatus> {
        watch::ended(&self.running)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("luo-ch.log")).unwrap_or_default()
    }

    /// Lines of the log with a text.
    pub(crate) fn lines(&self, text: &str) -> usize {
        let log = self.log();
        log.lines().filter(|line| line.contains(text)).count()
    }

    /// What the guest has counted, line by line from 1 on: nothing is left out, and nothing
    /// happens twice.
    pub(crate) fn counts(&self) -> Result<u64> {
        let text = fs::read_to_string(self.path("counts")).unwrap_or_default();
        // The last line may be under way.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut count = 0;
        for line in whole.lines() {
            count += 1;
            ensure!(
                line == count.to_string(),
                "after {} it said: {line}",
                count - 1
            );
        }
        Ok(count)
    }

    /// Waits until the guest has counted on.
    pub(crate) fn counts_on(&self) -> Result<()> {
        let before = self.counts()?;
        let what = format!("that the guest counts on from {before}");
        let counted = within(PATIENCE, &what, || Ok(self.counts()? >= before + 3));
        counted.with_context(|| self.log())
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
