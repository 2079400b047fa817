// SPDX-License-Identifier: MIT OR Apache-2.0
//! Eventfds, timers and pipes that go over each kexec: some are taken back and made anew, and as
//! many nobody wants. A page that one of them leaves behind is seen after as many kexecs.

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use luo_sys::{Device, FileStatus, Session, Token};
use rustix::event::{EventfdFlags, eventfd};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::check::{name, same};

const TAKEN: &str = "chain-small";
const UNWANTED: &str = "chain-unwanted";

/// Files of each kind in each session.
const TIMES: u64 = 8;

/// Bytes that a pipe holds, on two pages.
const HOLDS: usize = 5000;

/// Leaves both sessions.
pub(super) fn leave(device: &Device, boot: u32) -> Result<[Session; 2]> {
    let session = |called| -> Result<Session> {
        let session = device.create_session(&name(called))?;
        let files: Vec<_> = (0..TIMES).map(|_| made(boot)).collect::<Result<_>>()?;
        for (file, token) in files.iter().flatten().zip(0..) {
            session.preserve_fd(file, Token(token))?;
        }
        Ok(session)
    };
    Ok([session(TAKEN)?, session(UNWANTED)?])
}

/// Takes back what the kernel of a boot has left in one of them, and lets go of the other.
pub(super) fn take(device: &Device, boot: u32) -> Result<()> {
    let session = device.retrieve_session(&name(TAKEN))?;
    for time in 0..TIMES {
        let file = |number| session.retrieve_fd(Token(4 * time + number));
        let [eventfd, timer, reads, writes] = [file(0)?, file(1)?, file(2)?, file(3)?];
        same("what an eventfd counts", number(&eventfd)?, count(boot))?;
        same("how often a timer has expired", number(&timer)?, 1)?;
        let mut bytes = vec![0; 2 * HOLDS];
        rustix::io::write(&writes, b"!")?;
        let read = rustix::io::read(&reads, &mut bytes)?;
        let expected = [held(boot), b"!".to_vec()].concat();
        same("what a pipe holds", &bytes[..read], &expected[..])?;
    }
    session.finish()?;
    let session = device.retrieve_session(&name(UNWANTED))?;
    let files = session.list_files()?;
    let waits = files
        .iter()
        .filter(|one| one.status == FileStatus::Incoming);
    same("how many wait", waits.count() as u64, 4 * TIMES)?;
    session.finish().context(UNWANTED)
}

/// An eventfd, a timer that has expired, and both ends of a pipe.
fn made(boot: u32) -> Result<[OwnedFd; 4]> {
    let eventfd = eventfd(0, EventfdFlags::CLOEXEC)?;
    rustix::io::write(&eventfd, &count(boot).to_ne_bytes())?;
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    let now = Itimerspec {
        it_interval: Timespec::default(),
        it_value: Timespec {
            tv_sec: 0,
            tv_nsec: 1,
        },
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &now)?;
    let (reads, writes) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::write(&writes, &held(boot))?;
    Ok([eventfd, timer, reads, writes])
}

fn count(boot: u32) -> u64 {
    u64::from(boot) + 7
}

fn held(boot: u32) -> Vec<u8> {
    vec![boot.to_ne_bytes()[0]; HOLDS]
}

fn number(file: &OwnedFd) -> Result<u64> {
    let mut number = [0; 8];
    rustix::io::read(file, &mut number)?;
    Ok(u64::from_ne_bytes(number))
}
