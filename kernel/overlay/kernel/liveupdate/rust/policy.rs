// SPDX-License-Identifier: GPL-2.0-only
//! The administrator's decisions: at boot, or in `/sys/kernel/liveupdate`.
//!
//! ```text
//! liveupdate=on                 there is an orchestrator (default: off)
//! liveupdate_unclaimed=carry    sessions nobody has claimed go on to the next kernel; for a
//!                               file of theirs that cannot go, liveupdate_reboot holds
//!                               (default)
//! liveupdate_unclaimed=discard  such a file is lost, even with liveupdate_reboot=veto
//! liveupdate_reboot=lose        a file that cannot go with a reboot is lost alone (default)
//! liveupdate_reboot=veto        such a file fails the reboot
//! liveupdate_legacy=refuse      while something is preserved, a reboot is refused into an
//!                               image that kexec_load has loaded, which takes nothing over
//!                               (default)
//! liveupdate_legacy=boot        such a reboot goes on, and everything that is preserved is lost
//! liveupdate_openers=one        one program may have /dev/liveupdate open (default)
//! liveupdate_openers=many       many programs may, each with files of its own
//! liveupdate_open=mode          users whom the mode of its file admits may open
//!                               /dev/liveupdate (default)
//! liveupdate_open=admin         of those, only programs with CAP_SYS_ADMIN may
//! liveupdate_unowned=admin      sessions that have come from mainline's orchestrator, which
//!                               notes no owner, are for programs with CAP_SYS_ADMIN (default)
//! liveupdate_unowned=anybody    everybody who may open the device may take them back
//! liveupdate_user=sessions=N,files=N,dependencies=N,bytes=N
//!                               how much each user without CAP_SYS_ADMIN may have
//! liveupdate_users=sessions=N,files=N,dependencies=N,bytes=N
//!                               how much all of them may have together
//! liveupdate_user_kinds=memfd   users without CAP_SYS_ADMIN preserve memfds only, which each
//!                               kernel reads (default)
//! liveupdate_user_kinds=all     they preserve all kinds that have a handler; a next kernel
//!                               without the handler loses that file alone if it has this
//!                               orchestrator, and everything if it has mainline's
//! liveupdate_memfd=memfd-v2     memfds are handed over in a form that mainline's kernels read,
//!                               too (default)
//! liveupdate_memfd=runs         memfds are handed over by runs of pages, which is many times
//!                               faster; only this orchestrator reads that format
//! liveupdate_patience=N         for how many seconds a transition waits for what is under
//!                               way
//! ```

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use kernel::prelude::*;
use kernel::str::BStr;
use luo_core::ops::{self, Legacy, Obstacle, Policy, Unclaimed};
use luo_core::{Quota, Quotas, Unowned, UserKinds, Whom};

/// Whether live update is on: the boot parameter, unless something at boot made
/// it impossible.
static ENABLED: AtomicBool = AtomicBool::new(false);

/// See `liveupdate_enabled()`.
pub(crate) fn enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// The boot parameter `liveupdate`, or what boot has come to.
pub(crate) fn enable(on: bool) {
    ENABLED.store(on, Ordering::Relaxed);
}

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

    /// The word that is chosen.
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

/// The fate of sessions that nobody has claimed.
pub(crate) static UNCLAIMED: Choice = Choice::new("liveupdate_unclaimed", Unclaimed::WORDS);
/// The fate of a reboot when something cannot go.
pub(crate) static REBOOT: Choice = Choice::new("liveupdate_reboot", Obstacle::WORDS);
/// The fate of a reboot into an image that takes nothing over.
pub(crate) static LEGACY: Choice = Choice::new("liveupdate_legacy", Legacy::WORDS);
/// How many may have the device open.
pub(crate) static OPENERS: Choice = Choice::new("liveupdate_openers", ["one", "many"]);

/// The callers who may open the device.
pub(crate) static OPEN: Choice = Choice::new("liveupdate_open", luo_calls::OPEN_WORDS);

/// The callers who may take back a session that is nobody's.
pub(crate) static UNOWNED: Choice = Choice::new("liveupdate_unowned", Unowned::WORDS);

/// Which kinds of files users may preserve.
pub(crate) static USER_KINDS: Choice = Choice::new("liveupdate_user_kinds", UserKinds::WORDS);

/// How memfds are handed over.
pub(crate) static MEMFD: Choice = Choice::new("liveupdate_memfd", ["memfd-v2", "runs"]);

/// How memfds are handed over.
#[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
pub(crate) fn memfd_format() -> luo_memfd::Format {
    if MEMFD.is_second() {
        luo_memfd::Format::Runs
    } else {
        luo_memfd::Format::Mainline
    }
}

/// Whether only who may administer the machine may open the device.
pub(crate) fn opens_strictly() -> bool {
    OPEN.is_second()
}

/// How much users may have, before there is an engine to keep it: by [`Whom::ALL`] and
/// [`Quota::ALL`].
static QUOTAS: [[AtomicU64; Quota::ALL.len()]; Whom::ALL.len()] =
    [const { [const { AtomicU64::new(UNCHANGED) }; Quota::ALL.len()] }; Whom::ALL.len()];

/// The boot parameter says nothing of it.
const UNCHANGED: u64 = u64::MAX;

/// Where that is for some of the users.
fn places(whom: Whom) -> impl Iterator<Item = (Quota, &'static AtomicU64)> {
    let of_whom = QUOTAS.get(whom as usize).into_iter().flatten();
    Quota::ALL.into_iter().zip(of_whom)
}

/// Decides how much users may have, by the boot parameter.
pub(crate) fn choose_quotas_at_boot(whom: Whom, text: &[u8]) -> Result {
    let Some(chosen) = quotas(whom).parse(text) else {
        pr_err!(
            "liveupdate_{}={} is not understood, and changes nothing: it is \
             sessions=N,files=N,dependencies=N,bytes=N, or some of these\n",
            whom.word(),
            BStr::from_bytes(text)
        );
        return Err(EINVAL);
    };
    for (quota, place) in places(whom) {
        place.store(chosen.get(quota), Ordering::Relaxed);
    }
    Ok(())
}

/// How much users may have, as it was decided at boot.
pub(crate) fn quotas(whom: Whom) -> Quotas {
    let mut quotas = whom.default();
    for (quota, place) in places(whom) {
        match place.load(Ordering::Relaxed) {
            UNCHANGED => {}
            number => quotas.set(quota, number),
        }
    }
    quotas
}

/// For how many seconds a transition waits for what is under way.
static PATIENCE: AtomicU32 = AtomicU32::new(ops::PATIENCE);

/// Decides it, by the boot parameter.
pub(crate) fn choose_patience_at_boot(text: &[u8]) -> Result {
    let Some(seconds) = ops::parse_patience(text) else {
        pr_err!(
            "liveupdate_patience={} is unknown: it is a number of seconds from 1 to {}, and \
             stays {}\n",
            BStr::from_bytes(text),
            ops::MOST_PATIENCE,
            patience()
        );
        return Err(EINVAL);
    };
    PATIENCE.store(seconds, Ordering::Relaxed);
    Ok(())
}

/// For how many seconds a transition waits for what is under way.
pub(crate) fn patience() -> u32 {
    PATIENCE.load(Ordering::Relaxed)
}

/// The callers who may take back a session that is nobody's.
pub(crate) fn unowned() -> Unowned {
    Unowned::of(UNOWNED.is_second())
}

/// Which kinds of files users may preserve.
pub(crate) fn user_kinds() -> UserKinds {
    UserKinds::of(USER_KINDS.is_second())
}

/// The administrator's choices about a reboot.
pub(crate) fn of_reboot() -> Policy {
    Policy {
        obstacle: Obstacle::of(REBOOT.is_second()),
        unclaimed: Unclaimed::of(UNCLAIMED.is_second()),
        legacy: Legacy::of(LEGACY.is_second()),
    }
}

/// Whether more than one may have the device open.
pub(crate) fn many_openers() -> bool {
    OPENERS.is_second()
}
