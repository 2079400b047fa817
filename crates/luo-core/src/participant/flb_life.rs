// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The life of file-lifecycle-bound globals. The states are in `crate::participant::flb`.

use core::task::Poll;

use crate::engine::Engine;
use crate::error::Error;
use crate::handover::Handover;
use crate::host::{FlbCallbacks, Host};
use crate::id::{FlbId, HandlerId};
use crate::lock::Lock;
use crate::participant::flb::{Arrived, ArrivedState, Held, OutgoingState};
use crate::participant::handler::Flb;
use crate::text::Compat;
use crate::waits::Topic;

/// The kinds of users of an FLB.
#[derive(Clone, Copy)]
enum User {
    File,
    Holder,
}

// Outgoing.

/// Preserves all FLBs that a handler depends on, in order of registration, for
/// one more file; undoes those done if one fails. Answers with what the file
/// holds from now on.
pub(crate) fn acquire_flbs<H: Lock>(host: &H, handler: HandlerId) -> Result<Held, Error> {
    let mut held = Held::NONE;
    while let Some(flb) = host.now(|engine| engine.next_to_acquire(handler, held)) {
        match acquire(host, flb) {
            Ok(true) => held.insert(flb),
            // Unregistered since it was looked up: the next look skips it.
            Ok(false) => {}
            Err(why) => {
                release_flbs(host, handler, held);
                return Err(why);
            }
        }
    }
    Ok(held)
}

/// Releases the FLBs that a file holds, in reverse order.
pub(crate) fn release_flbs<H: Lock>(host: &H, handler: HandlerId, mut held: Held) {
    // Most files have none: no step is asked for then.
    while !held.is_empty() {
        let Some(flb) = host.now(|engine| engine.next_to_release(handler, held)) else {
            return;
        };
        held.remove(flb);
        release(host, flb, User::File);
    }
}

fn nth_flb<H: Lock>(host: &H, handler: HandlerId, at: usize) -> Option<FlbId> {
    host.now(|engine| {
        let entry = engine.handlers.get(handler);
        entry.and_then(|entry| entry.flbs.get(at).copied())
    })
}

/// Takes an FLB for one more file. False if it is gone.
fn acquire<H: Lock>(host: &H, id: FlbId) -> Result<bool, Error> {
    let first = host.wait(|engine| {
        let Some(flb) = engine.flbs.get_mut(id) else {
            return Poll::Ready(Err(false));
        };
        match flb.outgoing.state {
            OutgoingState::Working => engine.update.waits.pend(Topic::Flbs),
            OutgoingState::Live { .. } => {
                flb.outgoing.files = flb.outgoing.files.saturating_add(1);
                Poll::Ready(Err(true))
            }
            OutgoingState::Idle => Poll::Ready(Ok(flb.table.pin(host).map(|pin| {
                flb.outgoing.state = OutgoingState::Working;
                (flb.table.clone(), pin)
            }))),
        }
    });
    let (table, pin) = match first {
        Ok(pinned) => pinned.ok_or(Error::OwnerGone)?,
        Err(held) => return Ok(held),
    };
    let (state, files, outcome) = match table.preserve(host) {
        Ok((data, object)) => (OutgoingState::Live { data, object, pin }, 1, Ok(true)),
        Err(errno) => (OutgoingState::Idle, 0, Err(errno.into())),
    };
    // The old state, or the new one if the FLB is gone, is dropped without the lock.
    let old = host.now(|engine| {
        engine.update.waits.wake(Topic::Flbs);
        let old = match engine.flbs.get_mut(id) {
            Some(flb) => {
                flb.outgoing.files = files;
                core::mem::replace(&mut flb.outgoing.state, state)
            }
            None => state,
        };
        engine.drop_flb_if_unused(id);
        old
    });
    drop(old);
    outcome
}

fn release<H: Lock>(host: &H, id: FlbId, user: User) {
    let last = host.wait(|engine| {
        let Some(flb) = engine.flbs.get_mut(id) else {
            return Poll::Ready(None);
        };
        if matches!(flb.outgoing.state, OutgoingState::Working) {
            return engine.update.waits.pend(Topic::Flbs);
        }
        let count = match user {
            User::File => &mut flb.outgoing.files,
            User::Holder => &mut flb.outgoing.holders,
        };
        *count = count.saturating_sub(1);
        if !flb.outgoing.is_unused() || flb.outgoing.is_idle() {
            return Poll::Ready(None);
        }
        let state = core::mem::replace(&mut flb.outgoing.state, OutgoingState::Working);
        Poll::Ready(Some((flb.table.clone(), state)))
    });
    let Some((table, OutgoingState::Live { data, object, pin })) = last else {
        return;
    };
    table.unpreserve(host, data, object);
    host.now(|engine| {
        engine.update.waits.wake(Topic::Flbs);
        if let Some(flb) = engine.flbs.get_mut(id) {
            flb.outgoing.state = OutgoingState::Idle;
        }
        engine.drop_flb_if_unused(id);
    });
    drop(pin);
}

fn find_flb<H: Host>(engine: &Engine<H>, table: &H::Flb) -> Option<FlbId> {
    let same = |(_, flb): &(FlbId, &Flb<H>)| flb.table == *table;
    engine.flbs.iter().find(same).map(|(id, _)| id)
}

/// A driver takes the object of an FLB that some file has caused to be
/// preserved. See `liveupdate_flb_get_outgoing`.
///
/// # Errors
/// [`Error::NoFlb`] if it is not preserved or has no object.
pub fn flb_get_outgoing<H: Lock>(host: &H, table: &H::Flb) -> Result<H::Object, Error> {
    host.wait(|engine| {
        let Some(id) = find_flb(engine, table) else {
            return Poll::Ready(Err(Error::NoFlb));
        };
        let Some(flb) = engine.flbs.get_mut(id) else {
            return Poll::Ready(Err(Error::NoFlb));
        };
        match &flb.outgoing.state {
            OutgoingState::Working => engine.update.waits.pend(Topic::Flbs),
            OutgoingState::Live {
                object: Some(object),
                ..
            } => {
                let object = object.clone();
                flb.outgoing.holders = flb.outgoing.holders.saturating_add(1);
                Poll::Ready(Ok(object))
            }
            _ => Poll::Ready(Err(Error::NoFlb)),
        }
    })
}

/// A driver gives back what [`flb_get_outgoing`] gave it.
pub fn flb_put_outgoing<H: Lock>(host: &H, table: &H::Flb) {
    if let Some(id) = host.now(|engine| find_flb(engine, table)) {
        release(host, id, User::Holder);
    }
}

// Incoming.

fn arrived<'a, H: Host>(engine: &'a mut Engine<H>, name: &Compat) -> Option<&'a mut Arrived<H>> {
    let same = |flb: &&mut Arrived<H>| flb.name == *name;
    engine.arrived_flbs.iter_mut().find(same)
}

/// The outcome of a look at an incoming FLB.
enum Look<H: Host> {
    Live(Option<H::Object>),
    /// The caller is to retrieve it, with this handle.
    Retrieve(u64),
}

/// A driver takes the object of an FLB that was handed over; the first one
/// causes it to be retrieved. See `liveupdate_flb_get_incoming`.
///
/// # Errors
/// [`Error::NoData`] if nothing was handed over or the FLB is finished,
/// [`Error::NoFlb`] if it was not among what was, [`Error::Refused`],
/// [`Error::OwnerGone`], or what the FLB's own retrieve said.
pub fn flb_get_incoming<H: Lock>(
    host: &H,
    name: &Compat,
    table: &H::Flb,
) -> Result<Option<H::Object>, Error> {
    obtain(host, name, table, true)
}

/// A driver gives back what [`flb_get_incoming`] gave it.
pub fn flb_put_incoming<H: Lock>(host: &H, name: &Compat, table: &H::Flb) {
    leave(host, name, table, User::Holder);
}

/// One incoming file less has this handler: its FLBs, in reverse order, are
/// finished if it was the last.
pub(crate) fn finish_flbs<H: Lock>(host: &H, handler: HandlerId) {
    let count = host.now(|engine| {
        let entry = engine.handlers.get(handler);
        entry.map_or(0, |entry| entry.flbs.len())
    });
    for at in (0..count).rev() {
        let Some(id) = nth_flb(host, handler, at) else {
            continue;
        };
        // Pinned while it is sure to be registered; without a pin the table
        // must not be looked at, and the FLB stays unfinished.
        let flb = host.now(|engine| {
            engine.flbs.get(id).map(|flb| {
                let pin = flb.table.pin(host);
                (flb.name, pin.map(|pin| (flb.table.clone(), pin)))
            })
        });
        match flb {
            Some((name, Some((table, pin)))) => {
                leave(host, &name, &table, User::File);
                drop(pin);
            }
            Some((name, None)) => {
                count_down(host, &name, User::File);
            }
            None => {}
        }
    }
}

/// Sees to it that an incoming FLB is retrieved; gives its object if the caller
/// is to hold it. A holder counts from the same step that sees the object: the
/// FLB cannot be finished between.
fn obtain<H: Lock>(
    host: &H,
    name: &Compat,
    table: &H::Flb,
    hold: bool,
) -> Result<Option<H::Object>, Error> {
    let holders = u64::from(hold);
    let given = |object: &Option<H::Object>| object.as_ref().filter(|_| hold).cloned();
    let look = host.wait(|engine| {
        match engine.handover {
            Handover::Nothing => return Poll::Ready(Err(Error::NoData)),
            Handover::Refused(why) => return Poll::Ready(Err(why.into())),
            _ => {}
        }
        let Some(flb) = arrived(engine, name) else {
            return Poll::Ready(Err(Error::NoFlb));
        };
        Poll::Ready(match &flb.state {
            ArrivedState::Working => return engine.update.waits.pend(Topic::Flbs),
            ArrivedState::Live { object, .. } => {
                flb.holders = flb.holders.saturating_add(holders);
                Ok(Look::<H>::Live(given(object)))
            }
            ArrivedState::Failed(errno) => Err(Error::Host(*errno)),
            ArrivedState::Finished => Err(Error::NoData),
            ArrivedState::Waiting => {
                flb.state = ArrivedState::Working;
                Ok(Look::Retrieve(flb.data))
            }
        })
    })?;
    let data = match look {
        Look::Live(object) => return Ok(object),
        Look::Retrieve(data) => data,
    };
    let (state, outcome) = match table.pin(host) {
        // Not tried: somebody else may come while the owner is there.
        None => (ArrivedState::Waiting, Err(Error::OwnerGone)),
        Some(pin) => match table.retrieve(host, data) {
            Ok(object) => {
                let given = given(&object);
                (ArrivedState::Live { object, pin }, Ok(given))
            }
            Err(errno) => (ArrivedState::Failed(errno), Err(errno.into())),
        },
    };
    let holders = if outcome.is_ok() { holders } else { 0 };
    set_arrived(host, name, state, holders);
    outcome
}

fn set_arrived<H: Lock>(host: &H, name: &Compat, state: ArrivedState<H>, holders: u64) {
    // The old state, or the new one if the FLB is gone, is dropped without the lock.
    let old = host.now(|engine| {
        engine.update.waits.wake(Topic::Flbs);
        match arrived(engine, name) {
            Some(flb) => {
                flb.holders = flb.holders.saturating_add(holders);
                core::mem::replace(&mut flb.state, state)
            }
            None => state,
        }
    });
    drop(old);
}

/// One user less; true if it was the last of an FLB that is not finished.
fn count_down<H: Lock>(host: &H, name: &Compat, user: User) -> bool {
    host.wait(|engine| {
        let Some(flb) = arrived(engine, name) else {
            return Poll::Ready(false);
        };
        if matches!(flb.state, ArrivedState::Working) {
            return engine.update.waits.pend(Topic::Flbs);
        }
        let count = match user {
            User::File => &mut flb.files,
            User::Holder => &mut flb.holders,
        };
        *count = count.saturating_sub(1);
        Poll::Ready(flb.is_unused() && !matches!(flb.state, ArrivedState::Finished))
    })
}

/// One user less; the last one finishes the FLB.
fn leave<H: Lock>(host: &H, name: &Compat, table: &H::Flb, user: User) {
    let last = count_down(host, name, user);
    // Its owner releases what was handed over through the restored object.
    if last && obtain(host, name, table, false).is_ok() {
        let live = host.now(|engine| {
            let flb = arrived(engine, name)?;
            // Somebody may have come meanwhile.
            if !flb.is_unused() || !matches!(flb.state, ArrivedState::Live { .. }) {
                return None;
            }
            Some(core::mem::replace(&mut flb.state, ArrivedState::Working))
        });
        if let Some(ArrivedState::Live { object, pin }) = live {
            table.finish(host, object);
            set_arrived(host, name, ArrivedState::Finished, 0);
            drop(pin);
        }
    }
}

impl<H: Host> Engine<H> {
    /// The first FLB of a handler that is not held yet.
    fn next_to_acquire(&self, handler: HandlerId, held: Held) -> Option<FlbId> {
        let mut all = self.handlers.get(handler)?.flbs.iter().copied();
        all.find(|&id| !held.contains(id))
    }

    /// The last FLB of a handler that is held; when there are none left, one
    /// that the handler has lost meanwhile.
    fn next_to_release(&self, handler: HandlerId, held: Held) -> Option<FlbId> {
        let listed = self.handlers.get(handler).and_then(|entry| {
            let mut all = entry.flbs.iter().rev().copied();
            all.find(|&id| held.contains(id))
        });
        let lost = || self.flbs.iter().map(|(id, _)| id);
        listed.or_else(|| lost().find(|&id| held.contains(id)))
    }
}
