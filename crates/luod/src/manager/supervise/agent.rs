// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agent that the small manager looks after: a child of its own, or one whose supervisor has
//! died. Of the latter nobody tells how it has ended.

use std::io;
use std::os::fd::AsFd;
use std::process::{Child, ExitStatus};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process, pidfd_send_signal};

use crate::manager::alone::Orphan;

pub(super) enum Agent {
    Own(Child),
    TakenOver(Orphan),
}

impl Agent {
    pub(super) fn process(&self) -> Pid {
        match self {
            Self::Own(child) => Pid::from_child(child),
            Self::TakenOver(orphan) => orphan.process,
        }
    }

    /// The descriptor that says that it has ended, where that is no signal.
    pub(super) fn waits(&self) -> Option<PollFd<'_>> {
        match self {
            Self::Own(_) => None,
            Self::TakenOver(orphan) => Some(PollFd::new(&orphan.handle, PollFlags::IN)),
        }
    }

    /// Whether it has ended, and with which status, if that is told.
    pub(super) fn has_ended(&mut self) -> Option<io::Result<Option<ExitStatus>>> {
        match self {
            // An error: somebody else has waited for it.
            Self::Own(child) => child.try_wait().transpose().map(|ended| ended.map(Some)),
            Self::TakenOver(orphan) => {
                let mut fds = [PollFd::from_borrowed_fd(
                    orphan.handle.as_fd(),
                    PollFlags::IN,
                )];
                matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1..)).then_some(Ok(None))
            }
        }
    }

    pub(super) fn tell(&self, signal: Signal) {
        // Until it is waited for, its number is no other process's.
        let _ = match self {
            Self::Own(child) => kill_process(Pid::from_child(child), signal),
            Self::TakenOver(orphan) => pidfd_send_signal(&orphan.handle, signal),
        };
    }
}
