// SPDX-License-Identifier: GPL-2.0-only
//! What the log says of transitions: one line each, and one for each veto with who
//! and why.

use kernel::prelude::*;
use luo_abi::rfc::{Event, State};
use luo_core::ops::Report;
use luo_core::Failure;

use crate::say::Say;
use crate::state;

fn word(event: Option<Event>) -> &'static str {
    event.map_or("reboot", Event::word)
}

/// A transition has ended well, after so many microseconds.
pub(crate) fn ended(report: &Report, took: i64) {
    pr_info!("{} in {took} us\n", Say(report));
    if report.stuck > 0 {
        pr_warn!(
            "{} files are not let go of by their handlers, or needed by such; \
             each open of /dev/liveupdate tries again\n",
            report.stuck
        );
    }
    if report.carried > 0 {
        pr_info!(
            "{} sessions that nobody has claimed are carried on\n",
            report.carried
        );
    }
    if report.lost > 0 {
        pr_warn!(
            "{} sessions of the previous kernel are not finished; \
             they do not reach the next kernel\n",
            report.lost
        );
    }
    if report.unread {
        pr_warn!(
            "sessions of the previous kernel cannot be read; \
             they do not reach the next kernel\n"
        );
    }
    state::announce();
}

/// A transition has failed and is undone.
pub(crate) fn failed(event: Option<Event>, state: State, why: &Failure) {
    pr_warn!(
        "{} fails, {} again: {}\n",
        word(event),
        Say(state),
        Say(why)
    );
    if let (None, Failure::Carry { .. } | Failure::Engine(luo_core::Error::Refused(_))) =
        (event, why)
    {
        pr_warn!(
            "to reboot all the same and lose it: \
             echo discard > /sys/kernel/liveupdate/unclaimed\n"
        );
    }
    state::announce();
}
