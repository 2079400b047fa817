// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program without privileges that has descriptors of a pipe and of a timer of the
//! administrator's, and makes of them what cannot go.
//!
//! What the documents leave to it: an event fails in a bounded time and names the file, and the
//! reboot loses that file alone.

use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use luo_conformance::check::skip;
use luo_sys::unanswered::Unanswered;
use luo_sys::{Device, FileStatus, State, Token};

use super::cast::SHARED_WITH;
use super::evil::{TRIED, locked};
use super::inherited::taken;
use super::small::set_refused;
use super::timed::Timed;
use crate::check::{name, same};
use crate::program::{PAUSE, READY, stay, wait_to_go};

/// The files: the timer, and the ends of the pipe.
pub(super) const TIMER: Token = Token(1);
pub(super) const READS: Token = Token(2);
pub(super) const WRITES: Token = Token(3);

/// A skip where no memory stays away, by which a pipe could be held.
pub(super) fn can_hold() -> Result<()> {
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
