// SPDX-License-Identifier: GPL-2.0-only
//! What the administrator decides: at boot, or in `/sys/kernel/liveupdate`.
//!
//! ```text
//! liveupdate_unclaimed=carry    sessions nobody has claimed go on to the next
//!                               kernel, or the reboot fails (default)
//! liveupdate_unclaimed=discard  they go if they can, and are lost if not
//! liveupdate_openers=one        one may have /dev/liveupdate open (default)
//! liveupdate_openers=many       many may, each with files of its own
//! ```

use core::sync::atomic::{AtomicBool, Ordering};

use kernel::prelude::*;
use kernel::str::BStr;

/// A choice of two words. False, the first word, is the default.
struct Choice {
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

    fn word(&self) -> &'static str {
        let [first, second] = self.words;
        if self.second.load(Ordering::Relaxed) {
            second
        } else {
            first
        }
    }

    /// # Errors
    /// EINVAL if it is neither of the words.
    fn choose(&self, word: &[u8]) -> Result {
        let [first, second] = self.words;
        let is_second = word == second.as_bytes();
        if !is_second && word != first.as_bytes() {
            return Err(EINVAL);
        }
        self.second.store(is_second, Ordering::Relaxed);
        Ok(())
    }

    /// [`Self::choose`] by a boot parameter, which has only the log to answer in.
    fn choose_at_boot(&self, word: &[u8]) -> Result {
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

static UNCLAIMED: Choice = Choice::new("liveupdate_unclaimed", ["carry", "discard"]);
static OPENERS: Choice = Choice::new("liveupdate_openers", ["one", "many"]);

/// Whether a reboot may lose sessions that it cannot carry on.
pub(crate) fn may_discard() -> bool {
    UNCLAIMED.second.load(Ordering::Relaxed)
}

/// Whether more than one may have the device open.
pub(crate) fn many_openers() -> bool {
    OPENERS.second.load(Ordering::Relaxed)
}

/// What happens to sessions that nobody has claimed, as a word.
pub(crate) fn unclaimed() -> &'static str {
    UNCLAIMED.word()
}

/// Decides it anew.
///
/// # Errors
/// EINVAL if the word is not known.
pub(crate) fn set_unclaimed(word: &[u8]) -> Result {
    UNCLAIMED.choose(word)
}

/// The boot parameter `liveupdate_unclaimed`.
pub(crate) fn unclaimed_at_boot(word: &[u8]) -> Result {
    UNCLAIMED.choose_at_boot(word)
}

/// The boot parameter `liveupdate_openers`.
pub(crate) fn openers_at_boot(word: &[u8]) -> Result {
    OPENERS.choose_at_boot(word)
}
