// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Carrying on sessions that nobody has claimed.
//!
//! A machine that goes on to another kernel before everybody has come back must
//! not lose those who have not. Each session that nobody has claimed is restored
//! inside the kernel, what files need first, and preserved again in an outgoing
//! session of the same name with the same tokens and dependencies. If the reboot
//! fails, those sessions go and the incoming ones are there as before, to be
//! claimed, their files restored already. A new session of the same name takes the place
//! of one that nobody has claimed. A session that was closed and could not be
//! finished because a file of another needs it goes on with that one, closed. A file that its user
//! has back already is not carried on: the user could have made it as big as the machine, or never
//! let go of its lock.

use crate::engine::Engine;
use crate::error::Error;
use crate::failure::Failure;
use crate::host::{FileCallbacks, Subject};
use crate::id::{FileId, SessionId};
use crate::lock::Lock;
use crate::session::dependency::declare_in_transition;
use crate::session::open::create_in_transition;
use crate::session::preserve::{
    install, preserve_source, remove_preserved, reserve_in_transition, trim_records,
};
use crate::session::retrieve::retrieve_in_transition;
use crate::session::SessionKind;
use crate::update::carried::Place;
use crate::update::loss::{tell, Obstacle};
use crate::update::takeover::bring_over;
use crate::update::Report;
use crate::walk::{backwards, try_forwards};
use crate::within::Within;

/// The administrator's choice for sessions that nobody has claimed when the machine goes
/// on to another kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclaimed {
    /// They are carried on; a file that cannot be carried is treated as any that cannot go.
    Carry,
    /// A session that cannot be carried is lost, even where other obstacles veto.
    Discard,
}

impl Unclaimed {
    /// The words by which an administrator chooses, the default first.
    pub const WORDS: [&'static str; 2] = ["carry", "discard"];

    /// The choice that the first or the second word stands for.
    #[must_use]
    pub const fn of(second: bool) -> Self {
        if second {
            Self::Discard
        } else {
            Self::Carry
        }
    }
}

/// Carries on all sessions that nobody has claimed. What cannot be carried is lost alone,
/// or fails all of it.
///
/// # Errors
/// Only where an obstacle vetoes: [`Failure::Carry`] names the first session that cannot
/// be carried, [`Failure::Engine`] says why the previous kernel's sessions cannot be read.
pub(crate) fn carry<H: Lock>(
    host: &H,
    obstacle: Obstacle,
    report: &mut Report,
) -> Result<(), Failure> {
    if let Err(why) = bring_over(host) {
        if obstacle == Obstacle::Vetoes {
            return Err(why.into());
        }
        return Ok(());
    }
    carry_all(host, obstacle, report).inspect_err(|_| uncarry(host))
}

/// All that can be checked is checked before the first file is restored: what fails
/// to be restored is lost to its owner as well.
fn carry_all<H: Lock>(host: &H, obstacle: Obstacle, report: &mut Report) -> Result<(), Failure> {
    host.now(|engine| {
        engine.look_who_stays();
    });
    let mut session = host.now(|engine| engine.next_carried(None));
    while let Some(id) = session {
        if let Err(why) = carry_session(host, id) {
            let why = host.now(|engine| engine.cannot_carry(id, None, why));
            let is_users = host.now(|engine| engine.is_of_user(id));
            let part = host.now(|engine| engine.part_of_session(id));
            if obstacle.about(is_users) == Obstacle::Vetoes {
                return Err(why);
            }
            tell(host, part, &why);
            host.now(|engine| engine.leave_behind(id));
        } else {
            report.carried = report.carried.saturating_add(1);
        }
        session = host.now(|engine| engine.next_carried(Some(id)));
    }
    if report.carried == 0 {
        return Ok(());
    }
    // The tokens first, so that the files stand in the order they stood in.
    each_carried(host, |id, place| {
        let reserved = reserve_in_transition(host, place.to, place.token);
        reserved.map(drop).or_else(|why| {
            let why = host.now(|engine| engine.cannot_carry(place.from, Some(place.token), why));
            // There is no place to tell it in: it is counted.
            obstacle.decide(host, id, why)?;
            host.now(|engine| engine.losses.files = engine.losses.files.saturating_add(1));
            Ok(())
        })
    })?;
    // Then what they need: it may be what is not carried on.
    each_carried(host, |id, place| {
        cannot_go(host, obstacle, place, carry_dependencies(host, id, place))
    })?;
    try_forwards(host, Engine::arrange_carried, |id| {
        // Always there: nobody else changes anything now.
        match host.now(|engine| engine.place_of(id)) {
            Some(place) => cannot_go(host, obstacle, &place, carry_file(host, id, &place)),
            None => Ok(()),
        }
    })
}

/// Does something for each file that is carried on.
fn each_carried<H: Lock>(
    host: &H,
    mut step: impl FnMut(FileId, &Place) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut next = host.now(|engine| engine.next_carried_file(None));
    while let Some(id) = next {
        next = host.now(|engine| engine.next_carried_file(Some(id)));
        if let Some(place) = host.now(|engine| engine.place_of(id)) {
            step(id, &place)?;
        }
    }
    Ok(())
}

/// Decides about a file of which a step of the carrying has failed.
fn cannot_go<H: Lock>(
    host: &H,
    obstacle: Obstacle,
    place: &Place,
    outcome: Result<(), Error>,
) -> Result<(), Failure> {
    let Err(why) = outcome else {
        return Ok(());
    };
    let (why, copy) = host.now(|engine| {
        let why = engine.cannot_carry(place.from, Some(place.token), why);
        (why, engine.find_file(place.to, place.token))
    });
    match copy {
        Some(copy) => obstacle.decide(host, copy, why),
        // Without a copy there is nothing to lose but what the engine itself lacks.
        None => Err(why),
    }
}

/// Makes the outgoing session that carries an incoming one on.
fn carry_session<H: Lock>(host: &H, id: SessionId) -> Result<(), Error> {
    let kind = host.now(|engine| {
        let session = engine.sessions.get(id);
        session.map(|session| SessionKind {
            name: session.name,
            owner: session.owner,
            closed: session.is_closed_pending(),
        })
    });
    let made = create_in_transition(host, kind.ok_or(Error::Inconsistent)?)?;
    host.now(|engine| {
        engine.note_carrier(made, id);
    });
    Ok(())
}

/// Restores a file and preserves it again; what it needs is carried already, or lost.
fn carry_file<H: Lock>(host: &H, id: FileId, place: &Place) -> Result<(), Error> {
    let Some(copy) = host.now(|engine| engine.find_file(place.to, place.token)) else {
        return Ok(());
    };
    if host.now(|engine| engine.pass_on_loss(id, copy)) {
        return Ok(());
    }
    if !host.now(|engine| engine.has_handler(host, id)) {
        return Err(host.now(|engine| engine.about_handler(id, Error::NeverHandled)));
    }
    if let Some(Failure::Dependency { on, .. }) = host.now(|engine| engine.missed_by(copy)) {
        return Err(Error::NotCarried(on));
    }
    if host.now(|engine| engine.is_back_with_user(id)) {
        return Err(Error::UserHasIt);
    }
    let file = retrieve_in_transition(host, id)?;
    let source = host.now(|engine| engine.source_of(host, id, &file));
    let (handler, source) = source.ok_or(Error::OwnerGone)?;
    let bytes = source.handler.bytes(host, &source.file);
    host.now(|engine| engine.move_object(id, copy, handler, bytes, place.access))?;
    let of = Subject {
        file: copy,
        in_call: false,
        carries: host.now(|engine| engine.files.get(id).map(|file| file.data)),
        session: place.to,
        token: place.token,
    };
    let made = preserve_source(host, &of, handler, source).map_err(|(why, source)| {
        drop(source);
        why
    })?;
    install(host, copy, made);
    Ok(())
}

/// Declares what a file's copy needs, in the order it was declared in.
fn carry_dependencies<H: Lock>(host: &H, id: FileId, place: &Place) -> Result<(), Error> {
    let Some(copy) = host.now(|engine| engine.find_file(place.to, place.token)) else {
        return Ok(());
    };
    let mut last = None;
    while let Some((edge, on)) = host.now(|engine| engine.next_needed(id, last)) {
        let on = host.now(|engine| engine.copy_of(on))?;
        declare_in_transition(host, copy, on)?;
        last = Some(edge);
    }
    Ok(())
}

/// Undoes [`carry`]: the incoming sessions are as they were.
pub(crate) fn uncarry<H: Lock>(host: &H) {
    backwards(host, Engine::arrange_copies, |id| {
        let session = host.now(|engine| engine.files.get(id).map(|f| f.session));
        if let Some(session) = session {
            remove_preserved(host, Within::Transition, session, id);
        }
    });
    while let Some((id, from)) = host.now(|engine| engine.last_carrier()) {
        let gone = host.now(|engine| {
            let session = engine.remove_session(id);
            let outgoing = engine.outgoing.len;
            let page = engine.chain.surplus(outgoing);
            engine.reclaim_objects(from);
            (session, page)
        });
        drop(gone);
        trim_records(host);
    }
}
