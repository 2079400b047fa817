// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a boot ends, and telling everybody that it does.

use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::event::EventfdFlags;

use crate::error::Error;
use crate::fault::Step;
use crate::lock::lock;

/// Why a boot has ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The next kernel takes over.
    Kexec,
    /// The machine restarts: nothing is handed over.
    Restart,
    /// It is switched off.
    PowerOff,
    /// A fault: power is lost.
    Crash(Step),
    /// The command has ended.
    Exited(ExitStatus),
    /// The simulator cannot go on.
    Broken(Error),
}

/// The end of a boot, once it is decided. The first word counts, but for a crash,
/// which overtakes a jump that has not happened.
pub(crate) struct Stop {
    end: Mutex<Option<(End, Instant)>>,
    decided: Condvar,
    /// Readable once it is decided.
    pub(crate) event: OwnedFd,
}

impl Stop {
    pub(crate) fn new() -> rustix::io::Result<Self> {
        Ok(Self {
            end: Mutex::default(),
            decided: Condvar::new(),
            event: rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Ends the boot.
    pub(crate) fn ask(&self, end: End) {
        let mut decided = lock(&self.end);
        let overtakes = matches!(end, End::Crash(_)) && matches!(*decided, Some((End::Kexec, _)));
        if decided.is_none() || overtakes {
            *decided = Some((end, Instant::now()));
        }
        self.decided.notify_all();
        // It stays readable: nobody reads it.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    pub(crate) fn is_asked(&self) -> bool {
        lock(&self.end).is_some()
    }

    /// Sleeps, but not beyond the end.
    pub(crate) fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut end = lock(&self.end);
        while end.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.decided.wait_timeout(end, left);
            end = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// How it ended, and when that was decided.
    pub(crate) fn take(&self) -> Option<(End, Instant)> {
        lock(&self.end).take()
    }
}
