// SPDX-License-Identifier: MIT OR Apache-2.0
//! Small files of kinds that not each kernel knows.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Result;
use luo_scenes::stage::until;
use rustix::event::{EventfdFlags, eventfd};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::check::same;

/// An eventfd and a timer.
pub(super) fn eventfd_and_timer() -> Result<[OwnedFd; 2]> {
    let eventfd = eventfd(1, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
    Ok([eventfd, timer])
}

/// A point in time long after the test.
const LATER: Itimerspec = Itimerspec {
    it_interval: NEVER,
    it_value: Timespec {
        tv_sec: i64::MAX >> 32,
        tv_nsec: 0,
    },
};

const NEVER: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// At once.
const NOW: Itimerspec = Itimerspec {
    it_interval: NEVER,
    it_value: Timespec {
        tv_sec: 0,
        tv_nsec: 1,
    },
};

/// Uses an eventfd and a timer in each way after which they are such files still.
pub(super) fn play_with([eventfd, timer]: &[OwnedFd; 2]) -> Result<()> {
    const MOST: u64 = u64::MAX - 1;
    let mut number = [0; 8];
    // As much as goes in, and as much as there is.
    let _ = rustix::io::write(eventfd, &MOST.to_ne_bytes());
    let _ = rustix::io::read(eventfd, &mut number);
    for moment in [NOW, LATER] {
        timerfd_settime(timer, TimerfdTimerFlags::empty(), &moment)?;
        let _ = rustix::io::read(timer, &mut number);
    }
    Ok(())
}

/// Makes of a timer what its handler refuses, or what it takes.
pub(super) fn set_refused(timer: impl AsFd, refused: bool) -> Result<()> {
    let told = if refused {
        TimerfdTimerFlags::CANCEL_ON_SET
    } else {
        TimerfdTimerFlags::empty()
    };
    timerfd_settime(timer, TimerfdTimerFlags::ABSTIME | told, &LATER)?;
    Ok(())
}

/// Asserts that an eventfd and a timer are such files, and in use.
pub(super) fn work([eventfd, timer]: &[OwnedFd; 2]) -> Result<()> {
    let mut number = [0; 8];
    let _ = rustix::io::read(eventfd, &mut number);
    rustix::io::write(eventfd, &3_u64.to_ne_bytes())?;
    rustix::io::read(eventfd, &mut number)?;
    same("what an eventfd counts", u64::from_ne_bytes(number), 3)?;
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &NOW)?;
    let expires = || match rustix::io::read(timer, &mut number) {
        Err(rustix::io::Errno::AGAIN) => Ok(false),
        read => Ok(read.map(|_| true)?),
    };
    until("that a timer expires", expires)?;
    same("how often a timer expires", u64::from_ne_bytes(number), 1)
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

    pub(super) fn timer(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// The ends of the pipe: the one that is read from, and the other.
    pub(super) fn ends(&self) -> [BorrowedFd<'_>; 2] {
        [&self.reads, &self.writes].map(|file| file.as_fd())
    }

    /// Makes of the timer what its handler refuses, and of the others something else than they
    /// were.
    pub(super) fn spoil(&self) -> Result<()> {
        set_refused(&self.timer, true)?;
        rustix::io::write(&self.eventfd, &u64::to_ne_bytes(1))?;
        // As much as goes in.
        while rustix::io::write(&self.writes, &[8; 4096]).is_ok() {}
        Ok(())
    }
}
