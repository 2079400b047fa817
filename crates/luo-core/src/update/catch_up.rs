// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The work that comes before the first call on a newly opened device.

use crate::engine::Engine;
use crate::error::Error;
use crate::handover::Handover;
use crate::host::Host;
use crate::lock::Lock;
use crate::owner::Actor;
use crate::session::retry::{retry_closed, Retried};
use crate::session::scope::Scope;
use crate::update::leave::after_finish;
use crate::update::takeover::bring_over;

/// To be called before the first call on an open descriptor of the device: sees to it that
/// the sessions of the previous kernel are taken over ([`Lock::bring_over`]), and tries again to finish
/// those that were closed while a handler did not let go; of a user only the user's own.
/// `report` is told of each of those that still cannot be finished; how many these are is given.
///
/// Not to be called while the device is being opened: it waits for others and runs
/// callbacks of handlers, and a host may have locks then that those need, too.
///
/// # Errors
/// [`Error::Refused`], [`Error::NoMemory`]; EAGAIN if the caller was killed while it
/// waited, EBUSY if it waited for too long: nothing is lost, call again.
pub fn catch_up<H: Lock>(host: &H, by: Actor, report: impl FnMut(&Error)) -> Result<usize, Error> {
    bring_over(host)?;
    let scope = Scope::of_actor(by);
    // Most often there is nothing to do. Who is killed until here has begun nothing.
    let (pending, more) =
        host.now_killable(|engine| (engine.closed_pending > 0, engine.is_more_to_do(scope)))?;
    let retried = match pending {
        true => retry_closed(host, scope, report),
        false => Retried::default(),
    };
    if pending || more {
        after_finish(host, scope);
    }
    Ok(retried.left)
}

impl<H: Host> Engine<H> {
    /// Whether what the previous kernel left is known to be refused: then the device cannot be
    /// opened.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub const fn check_not_refused(&self) -> Result<(), Error> {
        match self.handover {
            Handover::Refused(why) => Err(Error::Refused(why)),
            _ => Ok(()),
        }
    }
}
