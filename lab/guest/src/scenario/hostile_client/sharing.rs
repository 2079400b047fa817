// SPDX-License-Identifier: MIT OR Apache-2.0
//! The administrator's side of [`super::shares`]: a session with a timer and a pipe of which a
//! program without privileges has descriptors.

use std::fs;

use anyhow::{Result, bail};
use luo_sys::{Cause, Errno, Session, Token};

use super::cast::{PATIENCE, SHARED_WITH, SHARER};
use super::evil::TRIED;
use super::shares::{READS, TIMER, WRITES, can_hold};
use super::small::{OfEachKind, set_refused};
use super::{Before, programs};
use crate::check::{name, same};
use crate::program::{self, Program, READY};

/// A session with such files.
pub(super) struct Shares {
    session: Session,
    small: OfEachKind,
}

impl Before<'_> {
    fn shares(&self) -> Result<Shares> {
        let session = self.device.create_session(&name(SHARED_WITH))?;
        let small = OfEachKind::new()?;
        let [reads, writes] = small.ends();
        for (token, file) in [(TIMER, small.timer()), (READS, reads), (WRITES, writes)] {
            session.preserve_fd(file, token)?;
        }
        Ok(Shares { session, small })
    }

    fn share(&self, part: &str, shares: &Shares) -> Result<Program> {
        let [_, writes] = shares.small.ends();
        let passed = [shares.small.timer(), writes];
        let mut program = self.groups.start(SHARER, part, &passed)?;
        program.says(READY, 1, PATIENCE)?;
        Ok(program)
    }

    /// Each is named by the freeze, in time; without the program all goes on.
    pub(super) fn are_named(&self) -> Result<()> {
        can_hold()?;
        let shares = self.shares()?;
        let mut program = self.share(programs::SHARES, &shares)?;
        self.freeze_fails_by(TIMER, Errno::EOPNOTSUPP)?;
        // Nobody can keep the owner from making it what it was.
        set_refused(shares.small.timer(), false)?;
        fs::write(program::GO, "")?;
        program.says(TRIED, 1, PATIENCE)?;
        self.freeze_fails_by(READS, Errno::EBUSY)?;
        fs::remove_file(program::GO)?;
        // Who lets go of it waits for nobody.
        let call = || shares.session.unpreserve_fd(READS);
        self.timed.call("UNPRESERVE_FD of a held pipe", call)?;
        self.under_attack()?;
        program.kill()?;
        let [reads, _] = shares.small.ends();
        shares.session.preserve_fd(reads, READS)?;
        self.under_attack()
    }

    /// Prepare goes, and freeze fails: so, and by that file.
    fn freeze_fails_by(&self, token: Token, errno: Errno) -> Result<()> {
        let (timed, device) = (self.timed, &self.device);
        timed.event("prepare", || device.prepare())?;
        let what = "freeze, of what is shared";
        let Err(why) = timed.event(what, || device.freeze()) else {
            bail!("the freeze goes");
        };
        let failure = device.failure()?;
        same("the error", why.errno(), errno)?;
        same("the cause", failure.cause, Cause::Handler)?;
        same("the session", failure.session, Some(name(SHARED_WITH)))?;
        same("the file", failure.token, token)
    }

    /// A program that begins when the machine is frozen, for the reboot.
    pub(super) fn share_frozen(&self) -> Result<Option<(Shares, Program)>> {
        if can_hold().is_err() {
            return Ok(None);
        }
        let shares = self.shares()?;
        let program = self.share(programs::SHARES_FROZEN, &shares)?;
        Ok(Some((shares, program)))
    }
}
