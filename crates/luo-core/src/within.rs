// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Steps of calls that a transition may not have waited for.
//!
//! A transition waits for calls only as far as they concern it, and the reboot not for ever.
//! So a call may still be in a callback of a handler when a transition works. The call's next step
//! in the engine has to wait then: the transition has passed over the session or file that the call
//! has in its hands, and everything else must stay as the transition found it.

use core::task::{ready, Poll};

use crate::engine::Engine;
use crate::lock::Lock;

/// The operation that a step belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    /// A call of a program, which stands still while a transition works.
    Call,
    /// The transition that works.
    Transition,
}

impl Within {
    /// Runs a step under the engine's lock, as soon as it may change something.
    #[cfg_attr(feature = "fault-injection", track_caller)]
    pub(crate) fn step<H: Lock, R>(self, host: &H, step: impl FnOnce(&mut Engine<H>) -> R) -> R {
        let mut step = Some(step);
        host.wait(|engine| {
            if self == Self::Call {
                ready!(engine.update.may_go_on());
            }
            match step.take() {
                Some(step) => Poll::Ready(step(engine)),
                // No host runs a step again that has run to its end.
                None => Poll::Pending,
            }
        })
    }
}
