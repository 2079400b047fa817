// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program without privileges that has descriptors of a pipe and of a timer of the
//! administrator's, and makes of them what cannot go.
//!
//! What the documents leave to it: an event fails in a bounded time and names the file, and the
//! reboot loses that file alone.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result, bail};
use luo_conformance::check::skip;
use luo_sys::unanswered::Unanswered;
use luo_sys::{Cause, Device, Errno, FileStatus, Session, State, Token};

use super::cast::{PATIENCE, SHARED_WITH, SHARER};
use super::evil::{TRIED, locked};
use super::inherited::taken;
use super::small::{OfEachKind, set_refused};
use super::timed::Timed;
use super::{Before, programs};
use crate::check::{name, same};
use crate::program::{self, PAUSE, Program, READY, stay, wait_to_go};

/// The files: the timer, and the ends of the pipe.
const TIMER: Token = Token(1);
const READS: Token = Token(2);
const WRITES: Token = Token(3);

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

fn can_hold() -> Result<()> {
    if Unanswered::is_there() {
        return Ok(());
    }
    Err(skip("no fault stays unanswered here"))
}

/// In the next kernel: what was made something that cannot go is lost, and nothing else.
pub(super) fn are_lost_alone(device: &Device, timed: &Timed) -> Result<()> {
    can_hold()?;
    let retrieve = || device.retrieve_session(&name(SHARED_WITH));
    let session = timed.call("RETRIEVE_SESSION", retrieve)?;
    let mut files = session.list_files()?;
    files.sort_unstable_by_key(|file| file.token);
    let told = files.iter().map(|file| (file.token, file.status));
    let expected = vec![
        (TIMER, FileStatus::Lost),
        (READS, FileStatus::Lost),
        (WRITES, FileStatus::Incoming),
    ];
    same("its files", told.collect::<Vec<_>>(), expected)?;
    // Nobody reads from it any more.
    let writes = session.retrieve_fd(WRITES)?;
    let error = rustix::io::write(&writes, b"x").err();
    same("a write", error, Some(rustix::io::Errno::PIPE))?;
    session.finish().context("finish")
}

/// The program.
pub(super) fn main(frozen: bool) -> Result<()> {
    let mut fds = taken()?;
    let [timer, writes] = [fds.next(), fds.next()].map(|fd| fd.context("a descriptor is missing"));
    let (timer, writes): (OwnedFd, OwnedFd) = (timer?, writes?);
    if frozen {
        let device = Device::open()?;
        println!("{READY}");
        while device.state()? != State::Frozen {
            device.wait_for_change(PAUSE)?;
        }
        set_refused(&timer, true)?;
    } else {
        set_refused(&timer, true)?;
        println!("{READY}");
        wait_to_go();
    }
    locked(writes.as_fd(), || {
        println!("{TRIED}to hold a pipe");
        stay()
    })
}
