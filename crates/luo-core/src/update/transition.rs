// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! How each transition begins; the steps of prepare, and how they and those of freeze are
//! undone. Which event is legal in which state is `update_state::TRANSITIONS`.
//!
//! | step | order |
//! |---|---|
//! | 1. files registered on the device are preserved (prepare); others are already | dependencies first |
//! | 2. subsystems prepare | as registered |
//! | 3. files are frozen (freeze, in `update::freeze`) | dependents first |
//! | 4. subsystems freeze | as registered |
//!
//! A veto or a cancel undoes them from the end: subsystems are cancelled, the last
//! registered first; files are unfrozen, the last frozen first; files that prepare
//! preserved are let go of, dependents first. Files that are free of each other
//! keep the order they were preserved in.

use core::task::Poll;

use luo_abi::errno::Errno;
use luo_abi::rfc::{Event, State};

use crate::engine::outgoing::Whose;
use crate::engine::Engine;
use crate::error::Error;
use crate::failure::Failure;
use crate::graph::First;
use crate::host::{Host, SubsystemCallbacks};
use crate::lock::Lock;
use crate::participant::subsystem_calls;
use crate::session::preserve::{put_back_source, undo_preserve};
use crate::under_way::Waiter;
use crate::update::files::{prepare_file, unfreeze_files};
use crate::update::loss::{lose_subsystem, regain, Obstacle};
use crate::update::Report;
use crate::waits::Topic;
use crate::walk::{backwards, try_forwards};

/// Begins a transition and waits until nothing else is under way; answers with
/// the state it begins in.
///
/// # Errors
/// [`Error::Illegal`]; EAGAIN if the caller was killed while it waited; [`Error::Busy`] if
/// it waited for too long, which counts as a transition that has failed.
pub(crate) fn begin<H: Lock>(host: &H, event: Event) -> Result<State, Error> {
    begin_as(host, Some(event), Obstacle::Vetoes, |engine| {
        engine.update.begin(event)
    })?;
    let from = host.now(|engine| engine.state());
    host.transition_begun(Some(event));
    Ok(from)
}

/// [`begin`] for a reboot, in any state. It waits for all calls; for those that do not end,
/// not for ever: then it goes on without what they have in their hands, or it is given up.
pub(crate) fn begin_reboot<H: Lock>(host: &H, obstacle: Obstacle) -> Result<State, Error> {
    begin_as(host, None, obstacle, |engine| {
        engine.update.begin_reboot().map(Ok)
    })?;
    let from = host.now(|engine| engine.state());
    host.transition_begun(None);
    Ok(from)
}

fn begin_as<H: Lock>(
    host: &H,
    event: Option<Event>,
    obstacle: Obstacle,
    mut begin: impl FnMut(&mut Engine<H>) -> Poll<Result<(), Error>>,
) -> Result<(), Error> {
    let waiter = Waiter::of(event);
    // The step may run again: the transition begins once, then only the wait goes on.
    let mut begun = false;
    let waited = host.wait_patiently(|engine| {
        if !begun {
            core::task::ready!(begin(engine))?;
            begun = true;
        }
        // From here on nothing new begins; what is under way ends first. If everything is
        // sealed it stands still already, and would not end.
        if engine.under_way.count_for(waiter) > 0 && !engine.update.is_sealed() {
            return engine.update.waits.pend(Topic::Idle);
        }
        engine.begin_work();
        Poll::Ready(Ok(()))
    });
    match waited {
        Ok(outcome) => outcome,
        Err(Errno::EBUSY) if begun && host.now(|engine| engine.goes_without(obstacle)) => Ok(()),
        Err(errno) => {
            let (why, state) = host.now(|engine| {
                let why = engine.why_given_up(event, begun, errno);
                (why, engine.state())
            });
            // If another transition is under way, it has the host's attention.
            if let (Error::Busy(_), true) = (why, begun) {
                host.transition_failed(event, state, &why.into());
            }
            Err(why)
        }
    }
}

/// Steps 1 and 2. On failure everything is as it was before.
pub(crate) fn prepare_all<H: Lock>(host: &H, obstacle: Obstacle) -> Result<(), Failure> {
    if obstacle == Obstacle::Vetoes {
        host.now(|engine| engine.check_dependencies(Whose::All))?;
    }
    let order = |engine: &mut Engine<H>| engine.arrange_outgoing(Whose::All, First::Dependencies);
    let prepared = try_forwards(host, order, |id| {
        let missed = match obstacle {
            Obstacle::Vetoes => None,
            Obstacle::IsLost => host.now(|engine| engine.missed_by(id)),
        };
        let prepared = match missed {
            Some(why) => Err(why),
            None => {
                prepare_file(host, id).map_err(|why| host.now(|engine| engine.failure_of(id, why)))
            }
        };
        prepared.or_else(|why| obstacle.decide(host, id, why))
    });
    prepared.inspect_err(|_| unprepare_files(host))?;
    let count = host.now(|engine| engine.subsystems.len());
    for at in 0..count {
        if let Err(why) = prepare_subsystem(host, at) {
            if obstacle == Obstacle::IsLost {
                lose_subsystem(host, at, &why);
                continue;
            }
            cancel_subsystems(host);
            unprepare_files(host);
            return Err(why);
        }
    }
    Ok(())
}

fn prepare_subsystem<H: Lock>(host: &H, at: usize) -> Result<(), Failure> {
    let Some(pinned) = subsystem_calls::pin_for_prepare(host, at) else {
        return Ok(());
    };
    let veto = |name, errno| Failure::Subsystem { name, errno };
    let (call, pin) = pinned.map_err(|name| veto(name, Errno::ENODEV))?;
    let data = call.table.prepare(host);
    let data = data.map_err(|errno| veto(call.name, errno))?;
    drop(subsystem_calls::set_prepared(host, at, Some((data, pin))));
    Ok(())
}

/// Undoes all four steps, as far as they were done, and with them what is frozen before the others:
/// its owner learns of it as everybody does who is told that the update is off.
pub(crate) fn undo_all<H: Lock>(host: &H) {
    cancel_subsystems(host);
    unfreeze_all(host);
    unprepare_files(host);
    regain(host);
}

/// Undoes all that is frozen, sessions that are frozen before the others with it.
pub(crate) fn unfreeze_all<H: Lock>(host: &H) {
    unfreeze_files(host, Whose::Frozen);
    host.now(Engine::forget_early);
}

fn cancel_subsystems<H: Lock>(host: &H) {
    let count = host.now(|engine| engine.subsystems.len());
    for at in (0..count).rev() {
        if let Some(call) = subsystem_calls::prepared(host, at) {
            call.table.cancel(host, call.data);
            // Its pin goes without the lock.
            drop(subsystem_calls::set_prepared(host, at, None));
        }
    }
}

/// Lets go of the files that prepare has preserved; they are registered again.
fn unprepare_files<H: Lock>(host: &H) {
    let order = |engine: &mut Engine<H>| engine.arrange_outgoing(Whose::All, First::Dependencies);
    backwards(host, order, |id| {
        let prepared = host.now(|engine| engine.take_prepared(id));
        if let Some((live, handler, data)) = prepared {
            let source = undo_preserve(host, handler, live, data);
            put_back_source(host, id, source);
        }
    });
}

impl<H: Host> Engine<H> {
    /// Whether a transition that has waited in vain goes on without what calls have in their
    /// hands: it works from here on then. No user's call is a veto, whatever the
    /// administrator has chosen.
    fn goes_without(&mut self, obstacle: Obstacle) -> bool {
        let goes = obstacle == Obstacle::IsLost || self.under_way.awaited == 0;
        if goes {
            self.begin_work();
        }
        goes
    }

    /// Gives a transition up that has waited in vain, and says what for. What waited
    /// behind it goes on.
    fn why_given_up(&mut self, event: Option<Event>, begun: bool, errno: Errno) -> Error {
        let waiter = Waiter::of(event);
        let why = match errno {
            Errno::EBUSY if begun => Error::Busy(self.who_is_busy(waiter)),
            Errno::EBUSY => Error::Busy(None),
            _ => errno.into(),
        };
        if let Error::Busy(_) = why {
            self.update.note_failure(event, why.into());
        }
        if begun {
            self.update.give_up();
        }
        why
    }

    /// Counts what has taken part, lost files left out; all subsystems that are registered.
    pub(crate) fn count_outgoing(&self, report: &mut Report) {
        let mut session = self.outgoing.first;
        while let Some(current) = session.and_then(|id| self.sessions.get(id)) {
            session = current.links.next;
            let made = current.outgoing().map_or(0, |outgoing| outgoing.made);
            if self.update.took_part(made) {
                report.sessions = report.sessions.saturating_add(1);
            }
        }
        let files = self.outgoing_files(Whose::TookPart);
        report.files = files.filter(|&id| !self.is_lost(id)).count();
        report.subsystems = self.subsystems.len();
    }
}
