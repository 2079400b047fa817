// SPDX-License-Identifier: MIT OR Apache-2.0
//! The administrator's side of [`super::ends`].

use std::fs::{self, File};
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result};
use luo_scenes::stage::within;
use luo_sys::Device;

use super::cast::{ENDER, ENDS, PATIENCE};
use super::evil::{ARGUMENT, TRIED};
use super::groups::Groups;
use super::holdings::state_of;
use super::timed::Timed;
use super::{ends, inherited};
use crate::cgroup::Group;
use crate::check::same;
use crate::program::{GO, Program, READY};

/// Bytes that the full group has room for.
const LITTLE: u64 = 32 << 10;

/// The administrator's side: each of them ends its session, and nothing of it stays.
pub(super) fn end_in_a_full_group(device: &Device, groups: &Groups, timed: &Timed) -> Result<()> {
    let guest = groups.guest()?;
    let full = Group::new("ends")?;
    for (part, called) in ends::AFTER.into_iter().zip(ENDS) {
        full.limit(None)?;
        let stdin = inherited::pass(&[device.as_fd()])?;
        let begin = || Program::begin(ENDER, &[ARGUMENT, part], stdin);
        let mut program = full.inside(guest, begin)?;
        program.says(READY, 1, PATIENCE)?;
        full.limit(Some(full.charged()? + LITTLE))?;
        fs::write(GO, "")?;
        let is_killed = part == ends::AFTER[2];
        if is_killed {
            timed.call("the end of a program", || program.kill())?;
        }
        let whole = format!("uid:{ENDER}:{called}");
        let gone = within(PATIENCE, "that the session ends", || {
            Ok(state_of(device, &whole)?.is_none())
        });
        fs::remove_file(GO)?;
        gone.with_context(|| part.to_owned())?;
        full.limit(None)?;
        if !is_killed {
            program.says(TRIED, 1, PATIENCE)?;
            program.kill()?;
        }
    }
    same("who was killed", full.times("oom_kill")?, 0)
}

/// Starts the program in the kernel that is left; it has what it leaves.
pub(super) fn leave(groups: &Groups) -> Result<Program> {
    let mut program = groups.start(ENDER, ends::LEAVES, &[File::open("/dev/null")?.as_fd()])?;
    program.says(READY, 1, PATIENCE)?;
    Ok(program)
}
