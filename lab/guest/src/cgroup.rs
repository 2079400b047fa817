// SPDX-License-Identifier: MIT OR Apache-2.0
//! Control groups of memory: who is charged for what.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rustix::mount::MountFlags;

const ROOT: &str = "/sys/fs/cgroup";

/// By how much what a group is charged can be off: each processor has a stock of 64 pages, and
/// what has been counted is summed up now and then.
pub(crate) const INEXACT: u64 = 1 << 20;

/// Whether this kernel has them.
///
/// # Errors
/// They cannot be looked at.
pub(crate) fn are_there() -> Result<bool> {
    let controllers = Path::new(ROOT).join("cgroup.controllers");
    if !controllers.exists() {
        let flags = MountFlags::empty();
        rustix::mount::mount("cgroup2", ROOT, "cgroup2", flags, None).context(ROOT)?;
    }
    let controllers = fs::read_to_string(controllers).context("cgroup.controllers")?;
    Ok(controllers.split_whitespace().any(|name| name == "memory"))
}

/// A group.
pub(crate) struct Group {
    path: PathBuf,
}

impl Group {
    /// A group of that name below the root, without a limit.
    ///
    /// # Errors
    /// The kernel has no groups of memory.
    pub(crate) fn new(name: &str) -> Result<Self> {
        ensure!(are_there()?, "this kernel has no groups of memory");
        let controllers = Path::new(ROOT).join("cgroup.subtree_control");
        fs::write(&controllers, "+memory").context("the controller of memory")?;
        let path = Path::new(ROOT).join(name);
        fs::create_dir_all(&path).with_context(|| name.to_owned())?;
        Ok(Self { path })
    }

    /// Moves this process into it. What it has been charged for stays where it is.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn enter(&self) -> Result<()> {
        fs::write(self.path.join("cgroup.procs"), "0").context("cgroup.procs")
    }

    /// Does something in it: a program that is started there stays there.
    ///
    /// # Errors
    /// That this process cannot move.
    pub(crate) fn inside<T>(&self, back: &Self, does: impl FnOnce() -> Result<T>) -> Result<T> {
        self.enter()?;
        let done = does();
        back.enter()?;
        done
    }

    /// Bytes that it is charged for.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(crate) fn charged(&self) -> Result<u64> {
        self.read("memory.current")?
            .trim()
            .parse()
            .context("memory.current")
    }

    /// The most bytes that it may be charged for.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn limit(&self, most: Option<u64>) -> Result<()> {
        let most = most.map_or("max".to_owned(), |most| most.to_string());
        fs::write(self.path.join("memory.max"), most).context("memory.max")
    }

    /// How often something has happened to it: `max` that it was at its limit, `oom_kill` that
    /// the kernel has killed for want of memory.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(crate) fn times(&self, event: &str) -> Result<u64> {
        let text = self.read("memory.events")?;
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let (_, times) = lines
            .find(|(name, _)| *name == event)
            .with_context(|| text.clone())?;
        times.parse().context(text.clone())
    }

    fn read(&self, file: &str) -> Result<String> {
        fs::read_to_string(self.path.join(file)).with_context(|| file.to_owned())
    }
}
