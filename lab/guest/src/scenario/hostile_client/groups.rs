// SPDX-License-Identifier: MIT OR Apache-2.0
//! The programs of users, and the groups that are charged for them.

use std::fs;
use std::os::fd::BorrowedFd;

use anyhow::{Result, ensure};
use luo_conformance::check::skip;

use super::cast::{PATIENCE, UID};
use super::{attack, evil, inherited};
use crate::cgroup::{self, Group};
use crate::program::{Program, go_of};

/// Who is charged: the administrator with the guest's memory, and the programs; nobody where the
/// kernel has no such groups.
pub(super) struct Groups(pub(super) Option<[Group; 2]>);

impl Groups {
    /// Has the administrator in a group.
    pub(super) fn new() -> Result<Self> {
        if !cgroup::are_there()? {
            return Ok(Self(None));
        }
        let [guest, evil] = [Group::new("guest")?, Group::new("evil")?];
        guest.enter()?;
        Ok(Self(Some([guest, evil])))
    }

    /// The administrator's.
    pub(super) fn guest(&self) -> Result<&Group> {
        let groups = self.0.as_ref();
        let [guest, _] = groups.ok_or_else(|| skip("this kernel has no groups of memory"))?;
        Ok(guest)
    }

    /// Starts a program in a group of its own.
    pub(super) fn start(
        &self,
        user: u32,
        part: &str,
        passed: &[BorrowedFd<'_>],
    ) -> Result<Program> {
        let stdin = inherited::pass(passed)?;
        let begin = || Program::begin(user, &[evil::ARGUMENT, part], stdin);
        match &self.0 {
            Some([guest, evil]) => evil.inside(guest, begin),
            None => begin(),
        }
    }
}

/// Has a program that waits make its calls, with all of its threads.
pub(super) fn storm_of(program: &mut Program, part: &str) -> Result<()> {
    let go = go_of(part);
    fs::write(&go, "")?;
    let storms = program.says(evil::TRIED, 1, PATIENCE);
    fs::remove_file(go)?;
    storms.map(drop)
}

/// The hostile program, as its parent sees it.
pub(super) struct Evil {
    pub(super) program: Program,
    /// How many attacks it has.
    attacks: usize,
}

impl Evil {
    pub(super) fn begin(groups: &Groups, passed: &[BorrowedFd<'_>], when: &str) -> Result<Self> {
        Ok(Self {
            program: groups.start(UID, when, passed)?,
            attacks: attack::attacks(when).count(),
        })
    }

    /// Waits until it has tried each attack once.
    pub(super) fn has_tried_all(&mut self) -> Result<()> {
        self.program.says(evil::TRIED, self.attacks, PATIENCE)?;
        Ok(())
    }

    pub(super) fn was_let_nowhere(&mut self) -> Result<()> {
        let through = self.program.has_said(evil::LET_THROUGH);
        ensure!(through.is_empty(), "{through:?}");
        ensure!(
            self.program.runs()?,
            "it has ended: {:?}",
            self.program.has_said("")
        );
        Ok(())
    }
}
