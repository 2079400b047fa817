// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Taking over what the previous kernel left, and saying so.

use luo_core::{ops, TakenOver};

use crate::host::CallHost;
use crate::log;

/// What the worker of a host does that has one, see [`luo_core::Lock::bring_over`]: takes
/// over, and says what came of it. Those who wait for it get the outcome.
pub fn take_over<H: CallHost>(host: &H) {
    say(host, &ops::take_over(host));
}

/// Says what came of it, if it is news.
pub(crate) fn say<H: CallHost>(host: &H, outcome: &TakenOver) {
    match outcome {
        Ok(Some((sessions, files))) => log::took_over(host, *sessions, *files),
        Err((why, true)) => log::refused(host, why),
        Ok(None) | Err((_, false)) => {}
    }
}
