// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine where a transition begins, and a callback of it that can be held up.

use anyhow::Result;
use luo_sys::{Device, Event, State};

use super::super::tools::{enter, state_is};
use crate::forge::{self, Fault, ODD};

/// A transition that is held up.
#[derive(Clone, Copy)]
pub(super) struct Transition {
    pub(super) event: Event,
    /// Where it begins, and where it leads.
    pub(super) from: State,
    pub(super) to: State,
    /// The callback of a file, and what makes it fail.
    pub(super) callback: &'static str,
    pub(super) fault: Fault,
}

pub(super) const PREPARE: Transition = Transition {
    event: Event::Prepare,
    from: State::Normal,
    to: State::Prepared,
    callback: "preserve",
    fault: Fault::Preserve(ODD),
};

pub(super) const FREEZE: Transition = Transition {
    event: Event::Freeze,
    from: State::Prepared,
    to: State::Frozen,
    callback: "freeze",
    fault: Fault::Freeze(ODD),
};

/// The machine where the transition begins, with a file of the driver registered on
/// the device; gives the file's number.
pub(super) fn ready(device: &Device, transition: Transition) -> Result<u32> {
    state_is(device, State::Normal)?;
    let file = forge::open()?;
    device.fd_preserve(&file)?;
    enter(device, transition.from)?;
    forge::id(&file)
}
