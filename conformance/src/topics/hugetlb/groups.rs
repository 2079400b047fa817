// SPDX-License-Identifier: MIT OR Apache-2.0
//! Huge pages are charged to the control group that they were charged to, whoever takes them
//! back, as far as it has room.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use luo_sys::Errno;
use rustix::mount::MountFlags;

use super::super::tools::{FIRST, incoming, session};
use super::tools::{HUGE, Pool, fill, huge, is_filled, provide};
use crate::case::Context;
use crate::check::{refused, same, skip};

const ROOT: &str = "/sys/fs/cgroup";

/// The pages of the file.
const PAGES: [u64; 3] = [0, 1, 2];

/// A group that counts huge pages.
struct Group(PathBuf);

impl Group {
    fn new(context: &Context<'_>) -> Result<Self> {
        if !context.implementation.is_kernel() {
            return Err(skip("control groups of huge pages are the machine's"));
        }
        if !Path::new(ROOT).join("cgroup.controllers").exists() {
            let flags = MountFlags::empty();
            rustix::mount::mount("cgroup2", ROOT, "cgroup2", flags, None).context(ROOT)?;
        }
        let control = Path::new(ROOT).join("cgroup.subtree_control");
        fs::write(control, "+hugetlb").context("the controller of huge pages")?;
        let path = Path::new(ROOT).join("luo-huge");
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Moves this process into it, or back.
    fn enter(&self, back: bool) -> Result<()> {
        let path = if back { Path::new(ROOT) } else { &self.0 };
        fs::write(path.join("cgroup.procs"), "0").context("cgroup.procs")
    }

    fn charged(&self, what: &str) -> Result<u64> {
        let path = self.0.join(format!("hugetlb.2MB.{what}"));
        let text = fs::read_to_string(&path).context(what.to_owned())?;
        Ok(text.trim().parse()?)
    }

    /// Asserts that it is charged for so many pages, in use and reserved.
    fn pays(&self, pages: u64) -> Result<()> {
        same("what is in use", self.charged("current")?, pages * HUGE)?;
        same(
            "what is reserved",
            self.charged("rsvd.current")?,
            pages * HUGE,
        )
    }

    fn limit(&self, pages: u64) -> Result<()> {
        let most = (pages * HUGE).to_string();
        fs::write(self.0.join("hugetlb.2MB.max"), most).context("hugetlb.2MB.max")
    }
}

pub(super) fn leave(context: &mut Context<'_>) -> Result<()> {
    let group = Group::new(context)?;
    provide(context, PAGES.len() as u64)?;
    let file = huge("paid", PAGES.len() as u64)?;
    group.enter(false)?;
    let filled = fill(&file, &PAGES);
    group.enter(true)?;
    filled?;
    group.pays(PAGES.len() as u64)?;
    let session = session(&*context.device()?, "paid", 0)?;
    session.preserve_fd(&file, FIRST)?;
    context.hold(session);
    Ok(())
}

pub(super) fn pays(context: &mut Context<'_>) -> Result<()> {
    let group = Group::new(context)?;
    let pages = PAGES.len() as u64;
    group.limit(pages - 1)?;
    let session = incoming("paid")?;
    for _ in 0..2 {
        refused(session.retrieve_fd(FIRST), Errno::ENOMEM)?;
        group.pays(0)?;
        same("pages in use", Pool::read()?.used(), 0)?;
    }
    group.limit(pages)?;
    let file = File::from(session.retrieve_fd(FIRST)?);
    group.pays(pages)?;
    session.finish()?;
    is_filled(&file, &PAGES)?;
    drop(file);
    group.pays(0)?;
    Ok(fs::remove_dir(&group.0)?)
}
