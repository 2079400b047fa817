// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Calls that are under way, and who waits for them.
//!
//! A call of a user without privileges can take for ever: a handler may wait for a page that
//! the user's own file system does not deliver. So no event waits for such a call. Each event
//! passes over the session or file that the call has in its hands: that stays as it is, and the
//! call goes on afterwards. The reboot waits for everybody, but not for ever, and then goes without.

use luo_abi::rfc::Event;

/// How many calls are under way that run callbacks or have pages in their hands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UnderWay {
    /// Calls on the administrator's sessions.
    pub(crate) awaited: usize,
    /// Calls on users' sessions and on those that are nobody's, and whoever has pages: that
    /// concerns the reboot alone.
    pub(crate) others: usize,
}

/// The step that waits until calls have ended: an event, or the reboot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// An event: for calls on the administrator's sessions.
    Event,
    /// The reboot: for all.
    Reboot,
}

impl Waiter {
    /// The one that an event is, or the reboot.
    pub(crate) const fn of(event: Option<Event>) -> Self {
        match event {
            Some(_) => Self::Event,
            None => Self::Reboot,
        }
    }
}

impl UnderWay {
    pub(crate) const NONE: Self = Self {
        awaited: 0,
        others: 0,
    };

    /// How many of them one waits for.
    pub(crate) const fn count_for(self, waiter: Waiter) -> usize {
        match waiter {
            Waiter::Event => self.awaited,
            Waiter::Reboot => self.awaited.saturating_add(self.others),
        }
    }
}
