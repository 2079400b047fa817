// SPDX-License-Identifier: GPL-2.0-only
//! What the administrator decides: at boot, or in `/sys/kernel/liveupdate`.
//!
//! ```text
//! liveupdate_unclaimed=carry    sessions nobody has claimed go on to the next
//!                               kernel; what of them cannot is dealt with as all
//!                               that cannot (default)
//! liveupdate_unclaimed=discard  what of them cannot is lost, even with
//!                               liveupdate_reboot=veto
//! liveupdate_reboot=lose        what cannot go with a reboot is lost alone (default)
//! liveupdate_reboot=veto        it fails the reboot
//! liveupdate_openers=one        one may have /dev/liveupdate open (default)
//! liveupdate_openers=many       many may, each with files of its own
//! ```

use core::sync::atomic::{AtomicBool, Ordering};

use kernel::prelude::*;
use kernel::str::BStr;
use luo_core::ops::{Obstacle, Policy, Unclaimed};

/// A choice of two words. False, the first word, is the default.
pub(crate) struct Choice {
    name: &'static str,
    words: [&'static str; 2],
    second: AtomicBool,
}

impl Choice {
    const fn new(name: &'static str, words: [&'static str; 2]) -> Self {
        Self {
            name,
            words,
            second: AtomicBool::new(false),
        }
    }

    fn is_second(&self) -> bool {
        self.second.load(Ordering::Relaxed)
    }

    /// What is chosen.
    pub(crate) fn word(&self) -> &'static str {
        let [first, second] = self.words;
        if self.is_second() {
            second
        } else {
            first
        }
    }

    /// Decides it anew.
    ///
    /// # Errors
    /// EINVAL if it is neither of the words.
    pub(crate) fn choose(&self, word: &[u8]) -> Result {
        let [first, second] = self.words;
        let is_second = word == second.as_bytes();
        if !is_second && word != first.as_bytes() {
            return Err(EINVAL);
        }
        self.second.store(is_second, Ordering::Relaxed);
        Ok(())
    }

    /// [`Self::choose`] by a boot parameter, which has only the log to answer in.
    pub(crate) fn choose_at_boot(&self, word: &[u8]) -> Result {
        self.choose(word).inspect_err(|_| {
            let [first, second] = self.words;
            pr_err!(
                "{}={} is unknown: it is {first} or {second}, and stays {}\n",
                self.name,
                BStr::from_bytes(word),
                self.word()
            );
        })
    }
}

/// What happens to sessions that nobody has claimed.
pub(crate) static UNCLAIMED: Choice = Choice::new("liveupdate_unclaimed", Unclaimed::WORDS);
/// What becomes of a reboot when something cannot go.
pub(crate) static REBOOT: Choice = Choice::new("liveupdate_reboot", Obstacle::WORDS);
/// How many may have the device open.
pub(crate) static OPENERS: Choice = Choice::new("liveupdate_openers", ["one", "many"]);

/// What a reboot does with what cannot go.
pub(crate) fn of_reboot() -> Policy {
    Policy {
        obstacle: Obstacle::of(REBOOT.is_second()),
        unclaimed: Unclaimed::of(UNCLAIMED.is_second()),
    }
}

/// Whether more than one may have the device open.
pub(crate) fn many_openers() -> bool {
    OPENERS.is_second()
}
