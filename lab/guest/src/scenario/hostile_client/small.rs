// SPDX-License-Identifier: MIT OR Apache-2.0
//! Small files of kinds that not each kernel knows.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Result;
use rustix::event::{EventfdFlags, eventfd};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// An eventfd and a timer.
pub(super) fn eventfd_and_timer() -> Result<[OwnedFd; 2]> {
    let eventfd = eventfd(1, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC)?;
    Ok([eventfd, timer])
}

/// One of each kind: an eventfd, a timer, and both ends of a pipe.
pub(super) struct OfEachKind {
    eventfd: OwnedFd,
    timer: OwnedFd,
    reads: OwnedFd,
    writes: OwnedFd,
}

impl OfEachKind {
    pub(super) fn new() -> Result<Self> {
        let [eventfd, timer] = eventfd_and_timer()?;
        let (reads, writes) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        rustix::io::write(&writes, &[7; 5000])?;
        Ok(Self {
            eventfd,
            timer,
            reads,
            writes,
        })
    }

    pub(super) fn all(&self) -> [BorrowedFd<'_>; 4] {
        let Self {
            eventfd,
            timer,
            reads,
            writes,
        } = self;
        [eventfd, timer, reads, writes].map(|file| file.as_fd())
    }

    /// Makes of the timer what its handler refuses, and of the others something else than they
    /// were.
    pub(super) fn spoil(&self) -> Result<()> {
        const LATER: Timespec = Timespec {
            tv_sec: i64::MAX >> 32,
            tv_nsec: 0,
        };
        let expires = Itimerspec {
            it_interval: Timespec::default(),
            it_value: LATER,
        };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        timerfd_settime(&self.timer, flags, &expires)?;
        rustix::io::write(&self.eventfd, &u64::to_ne_bytes(1))?;
        // As much as goes in.
        while rustix::io::write(&self.writes, &[8; 4096]).is_ok() {}
        Ok(())
    }
}
