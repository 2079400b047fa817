// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine with an agent and a guest, in one boot.
//!
//! | file | concern |
//! |---|---|
//! | here | what it is made of; its begin, its end |
//! | `start` | how a luo-qemu is started |
//! | `seen` | what is seen of it and of its guest |

mod seen;
mod start;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::rc::Rc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use luo_scenes::stage::Stage;
use rustix::process::{Pid, Signal, kill_process};

use crate::keeper::{self, Keeper, More};
use crate::patience::DEADLINES;
pub use crate::patience::GUEST;
use crate::ticks::Ticks;
use crate::{bare, image};

pub(crate) use start::Killed;

/// What becomes of the files of a scene at a jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// They stay where they are, as on a disk.
    Stay,
    /// They are in memory, and a keeper takes along what the next boot needs.
    Kept,
}

/// What a guest begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begins {
    /// Its disk.
    Disk,
    /// The bare program, with so many processors.
    Bare(u32),
    /// What its further arguments say.
    Otherwise,
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
    begins: Begins,
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
            begins: Begins::Disk,
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
        self.begins = Begins::Bare(processors);
        bare::write(&self.path("bare"), processors, None)
    }

    /// Has the guest begin with what its further arguments say.
    pub(crate) fn boots_by_itself(&mut self) {
        self.begins = Begins::Otherwise;
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
}
