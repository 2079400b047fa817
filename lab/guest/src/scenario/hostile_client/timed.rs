// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long calls of those who behave take, and may.

use core::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::init::Guest;
use crate::port;

/// How much more than the kernel's patience an event or the reboot may take here: the storm takes
/// the processors from it.
const ALLOWANCE: Duration = Duration::from_secs(30);

/// How long a call may take here that concerns one session, though other programs have the
/// processors and the engine's lock most of the time. The most that one does is to restore the
/// memory of a guest.
const CALL: Duration = Duration::from_secs(10);

/// How long an open may take of a device beside which the hostile program opens its own: a step of
/// the engine's, and the processor.
const OPEN: Duration = Duration::from_secs(5);

/// How long PRESERVE_FD of a file may take that somebody writes to and does not end: the two
/// seconds of the handler, which sleeps two hundred times and waits for the processor each time.
const LOCKED: Duration = Duration::from_secs(20);

/// Of each kind of call how often it was made, and how long the longest took.
type Longest = BTreeMap<&'static str, (u32, Duration)>;

/// The bounds of a machine, and what has been held against them.
pub(super) struct Timed {
    event: Duration,
    slower: u32,
    longest: RefCell<Longest>,
    late: RefCell<Vec<String>>,
}

impl Timed {
    /// Those of this machine: checkers slow it down by the argument `slower`.
    pub(super) fn new(guest: &Guest) -> Result<Self> {
        let patience = guest.line.get("liveupdate_patience");
        let patience = Duration::from_secs(patience.context("no patience")?.parse()?);
        let slower = guest.args.get("slower", 1)?;
        Ok(Self {
            event: patience + ALLOWANCE * slower,
            slower,
            longest: RefCell::default(),
            late: RefCell::default(),
        })
    }

    /// The most that an event, or the reboot, may take.
    pub(super) fn of_event(&self) -> Duration {
        self.event
    }

    /// A bound, on a machine that checkers slow down.
    pub(super) fn slowed(&self, bound: Duration) -> Duration {
        bound * self.slower
    }

    /// Makes an event.
    pub(super) fn event<T>(&self, what: &'static str, does: impl FnOnce() -> T) -> T {
        self.within(self.event, what, does)
    }

    /// Makes a call on one session, or one that lists.
    pub(super) fn call<T>(&self, what: &'static str, does: impl FnOnce() -> T) -> T {
        self.within(CALL * self.slower, what, does)
    }

    /// Opens a device.
    pub(super) fn open<T>(&self, what: &'static str, does: impl FnOnce() -> T) -> T {
        self.within(OPEN * self.slower, what, does)
    }

    /// Makes a call for which a file is locked.
    pub(super) fn locked<T>(&self, what: &'static str, does: impl FnOnce() -> T) -> T {
        self.within(LOCKED * self.slower, what, does)
    }

    fn within<T>(&self, bound: Duration, what: &'static str, does: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = does();
        let took = begun.elapsed();
        let mut longest = self.longest.borrow_mut();
        let (times, most) = longest.entry(what).or_default();
        *times += 1;
        *most = took.max(*most);
        if took > bound {
            let late = format!("{what} took {took:?} of {bound:?}");
            self.late.borrow_mut().push(late);
        }
        done
    }

    /// Tells what has taken how long so far, and begins anew.
    pub(super) fn tell(&self, when: &str) {
        let longest = self.longest.take();
        let told = longest
            .iter()
            .map(|(what, (times, most))| format!("{what} {} ms ({times} times)", most.as_millis()));
        port::progress(format!(
            "the longest {when}: {}",
            told.collect::<Vec<_>>().join(", ")
        ));
    }

    /// [`Self::tell`], and asserts that nothing took longer than it may.
    pub(super) fn were_in_time(&self) -> Result<()> {
        ensure!(!self.longest.borrow().is_empty(), "nothing was timed");
        self.tell("at last");
        let late = self.late.take();
        ensure!(late.is_empty(), "{late:?}");
        Ok(())
    }
}
