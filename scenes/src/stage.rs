// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stage: the agent and members, which are started, heard and waited for.
//!
//! | file | concern |
//! |---|---|
//! | here | what a stage is made of; `luoctl` on it; its end |
//! | `agent` | the agent's process, and how it stands |
//! | `members` | the members: started, heard, stopped at their gates, killed |
//! | `actor` | one member's process |
//! | `children` | finding a child of a process that is not ours |
//! | `wait` | waiting for what must come about |

mod actor;
mod agent;
mod children;
mod members;
mod wait;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use luo_varlink::{Target, paths};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, Signal, kill_process, pidfd_open};

pub use wait::{PATIENCE, until, within};

use actor::Actor;
use children::child_of;

/// Makes files.
type Files = Box<dyn FnOnce() -> Result<()> + Send>;

/// A stage in one boot.
pub struct Stage {
    folder: PathBuf,
    /// The kernel to jump into.
    target: Target,
    /// What makes the target's files, until somebody wants them.
    files: Mutex<Option<Files>>,
    /// Where the agent looks for the system's files.
    root: PathBuf,
    /// The agent's program, and the word that makes it the agent.
    luod: (PathBuf, Option<&'static str>),
    /// Of the policy.
    limits: String,
    agent: Mutex<Option<Child>>,
    members: Mutex<BTreeMap<String, Actor>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    /// A stage with its files in a folder, which all boots share.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn new(folder: &Path, target: Target, root: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        Ok(Self {
            folder: folder.to_owned(),
            target,
            files: Mutex::default(),
            root: root.to_owned(),
            luod: ("/proc/self/exe".into(), Some("luod")),
            limits: String::new(),
            agent: Mutex::default(),
            members: Mutex::default(),
        })
    }

    /// A stage in the simulator, with a machine that `luo-sim system` has written.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn simulated(folder: &Path, system: &Path) -> Result<Self> {
        let target = Target {
            image: Some(system.join("boot/vmlinuz").display().to_string()),
            initrd: None,
            command_line: Some("liveupdate=on kho=on".to_owned()),
            ..Target::default()
        };
        Self::new(folder, target, system)
    }

    /// With an agent that is a program by itself, instead of this very program.
    #[must_use]
    pub fn with_luod(mut self, program: &Path) -> Self {
        self.luod = (program.to_owned(), None);
        self
    }

    /// With a target whose files are made once they are wanted: a machine that has just jumped
    /// has other things to do first.
    #[must_use]
    pub fn with_files(mut self, make: impl FnOnce() -> Result<()> + Send + 'static) -> Self {
        self.files = Mutex::new(Some(Box::new(make)));
        self
    }

    /// With limits in the policy, see [`Stage::limit`].
    #[must_use]
    pub fn with_limits(mut self, limits: &str) -> Self {
        limits.clone_into(&mut self.limits);
        self
    }

    /// The folder of the agent's sockets.
    #[must_use]
    pub fn runtime(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The kernel to jump into, whose files are there.
    #[must_use]
    pub fn target(&self) -> &Target {
        if let Some(make) = lock(&self.files).take()
            && let Err(why) = make()
        {
            // The agent says of a file that is not there that it is not.
            eprintln!("the files of the target: {why:#}");
        }
        &self.target
    }

    /// Ends everything that was started here.
    ///
    /// # Errors
    /// Something cannot be ended.
    pub fn end(self) -> Result<()> {
        for actor in lock(&self.members).values_mut() {
            actor.end()?;
        }
        let Some(mut manager) = lock(&self.agent).take() else {
            return Ok(());
        };
        let agent = child_of(manager.id())?;
        let handle = pidfd_open(agent, PidfdFlags::empty())?;
        manager.kill()?;
        manager.wait()?;
        kill_process(agent, Signal::KILL)?;
        // All of its threads have to be gone: the last one holds its files, and with them the lock that
        // keeps the agent of the next stage out.
        until("the end of luod", || {
            let mut fds = [PollFd::new(&handle, PollFlags::IN)];
            Ok(poll(&mut fds, Some(&Timespec::default()))? > 0)
        })
    }

    /// A command of `luoctl`, on this stage.
    #[must_use]
    pub fn luoctl(&self, command: &str) -> Command {
        let mut luoctl = Command::new("/proc/self/exe");
        luoctl
            .args(["luoctl", command])
            .env(paths::RUNTIME_VARIABLE, self.runtime())
            .stdin(Stdio::null());
        luoctl
    }

    /// The same, with the target that this stage has.
    #[must_use]
    pub fn luoctl_with_target(&self, command: &str) -> Command {
        let mut luoctl = self.luoctl(command);
        let Target {
            image,
            initrd,
            command_line,
            ..
        } = self.target();
        let options = [
            ("--kernel", image),
            ("--initrd", initrd),
            ("--command-line", command_line),
        ];
        for (option, value) in options {
            if let Some(value) = value {
                luoctl.arg(format!("{option}={value}"));
            }
        }
        luoctl
    }

    /// Runs `luoctl update`, which is expected to jump, and does not come back then.
    ///
    /// # Errors
    /// Always: what it said instead.
    pub fn update(&self) -> Result<std::convert::Infallible> {
        let output = self.luoctl_with_target("update").output()?;
        if output.status.success() {
            // The machine is on its way.
            until("the jump", || Ok(false))?;
        }
        bail!(
            "luoctl update: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
    }
}
