// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program that takes nothing back of its sessions, and ends them in a memory cgroup that is
//! full: by FINISH, by a close, and by being killed.
//!
//! Letting go takes room for a moment. It must not be missing, or the memory would be lost to all
//! until the machine boots anew.

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Device, Session, Token, memfd};

use super::cast::ENDS;
use super::evil::TRIED;
use super::inherited;
use super::small::OfEachKind;
use crate::check::name;
use crate::program::{GO, PAUSE, READY, stay, wait_to_go};

/// Its parts: in the kernel that is left, and in the next one for each way in which a session ends.
pub(super) const LEAVES: &str = "ends";
pub(super) const AFTER: [&str; 3] = ["ends-by-finish", "ends-by-close", "ends-by-kill"];

/// Pages of each file, each of which is told of alone: the list of them takes more than the group
/// has room for.
const PAGES: u64 = 4096;

/// In the kernel that is left: sessions with files of each kind.
pub(super) fn main() -> Result<()> {
    let device = Device::open()?;
    let mut held = Vec::new();
    for called in ENDS {
        let session = device.create_session(&name(called))?;
        let file = memfd::create("scattered", 2 * PAGES * 4096)?;
        for page in 0..PAGES {
            file.write_all_at(b"x", 2 * page * 4096)?;
        }
        session.preserve_fd(file, Token(1))?;
        for (token, file) in (2..).zip(OfEachKind::new()?.all()) {
            session.preserve_fd(file, Token(token))?;
        }
        held.push(session);
    }
    println!("{READY}");
    stay()
}

/// In the next kernel. It must ask for no memory but by what it is there for: for other memory the
/// kernel would kill it.
pub(super) fn after(part: &str) -> Result<()> {
    let [finishes, closes, kills] = AFTER;
    let at = AFTER.iter().position(|known| *known == part);
    let called = at.and_then(|at| ENDS.get(at)).context("no session")?;
    let device = inherited::taken()?.next().map(Device::from_fd);
    let session = device
        .context("no device")?
        .retrieve_session(&name(called))?;
    println!("{READY}");
    wait_to_go();
    let ended = match part {
        _ if part == finishes => session.finish(),
        _ if part == closes => {
            drop(session);
            Ok(())
        }
        _ => {
            ensure!(part == kills, "{part}");
            // It is killed with the session.
            keep(&session)
        }
    };
    // It says so when it has room for that.
    while Path::new(GO).exists() {
        std::thread::sleep(PAUSE);
    }
    ended?;
    println!("{TRIED}{part}");
    stay()
}

fn keep(_: &Session) -> ! {
    stay()
}
