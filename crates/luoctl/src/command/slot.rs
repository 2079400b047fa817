// SPDX-License-Identifier: MIT OR Apache-2.0
//! The slot of `luoctl update --fleet`.

use std::path::Path;
use std::thread::sleep;

use luo_varlink::Target;

use super::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::fleet::take::{Answer, Taken, Taker};
use crate::output::complain;

/// Takes a slot, and waits until there is one. What it waits for is told as often as that is
/// another thing.
pub(super) fn take(
    context: &Context,
    config: &Path,
    target: &Target,
    no_wait: bool,
) -> Result<Taken> {
    let mut taker = Taker::new(config, target, || {
        context.asks(|| {
            let mut luod = context.status()?;
            Ok((luod.past(1)?.updates, luod.get()?.kernel_release))
        })
    })?;
    let mut told = String::new();
    loop {
        let (waits, why, again) = match taker.ask()? {
            Answer::Taken(taken) => return Ok(*taken),
            Answer::Wait(waits, why, again) => (waits, why, again),
        };
        if no_wait {
            let message = format!("the fleet does not let this machine begin now: {why}");
            return Err(Failure::new(Exit::Refused, "no-slot", message).next(
                "nothing was changed; `luoctl fleet status` shows the fleet, and without \
                 --no-wait it is waited for",
            ));
        }
        if told != why {
            complain(format_args!("luoctl: waits for a slot of the fleet: {why}"));
            told = why;
        }
        sleep(again);
        taker = *waits;
    }
}

/// The update has not taken place, or it cannot be told whether it has.
pub(super) fn give_back(slot: Taken, why: &Failure) {
    // A luod that is gone may have jumped: what came of it is in the history, and
    // `luoctl fleet keep` looks there.
    let Failure::Told(told) = why else { return };
    if matches!(
        told.exit,
        Exit::Unavailable | Exit::TimedOut | Exit::Interrupted
    ) {
        return;
    }
    if let Err(words) = slot.cancelled(&told.message) {
        complain(format_args!(
            "luoctl: the slot of the fleet is not given back yet: {words}\n  `luoctl fleet keep` \
             (luod-fleet.service) goes on trying"
        ));
    }
}
