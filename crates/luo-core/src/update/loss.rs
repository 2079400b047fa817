// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! A file that cannot go with a reboot is lost alone, with those that need it. In a reboot nobody
//! is left who could act on a refusal, and without the jump everything would be lost.
//!
//! A lost file keeps its place, so that the next kernel can tell its owner, and is let go
//! of, so that its memory is the next kernel's. If the jump does not come about, it is
//! preserved again. One of a user's without privileges stays preserved meanwhile.

use core::task::Poll;

use crate::engine::outgoing::Whose;
use crate::engine::Engine;
use crate::error::Error;
use crate::failure::Failure;
use crate::graph::{First, Target};
use crate::handover::block::Spares;
use crate::host::{Host, SubsystemCallbacks};
use crate::id::{FileId, SessionId};
use crate::lock::Lock;
use crate::losses::{Part, Told};
use crate::participant::subsystem_calls;
use crate::session::pages::with_pages;
use crate::session::preserve::{put_back_source, remove_preserved, undo_preserve};
use crate::session::{File, Lost, Session, Stage};
use crate::under_way::Waiter;
use crate::update::files::{lose_file, prepare_file, unfreeze_file};
use crate::walk::{backwards, forwards, try_forwards};
use crate::within::Within;

/// The fate of a reboot when something cannot go to the next kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It is lost, alone, and the reboot goes on.
    IsLost,
    /// The reboot fails.
    Vetoes,
}

impl Obstacle {
    /// The words by which an administrator chooses, the default first.
    pub const WORDS: [&'static str; 2] = ["lose", "veto"];

    /// The choice that the first or the second word stands for.
    #[must_use]
    pub const fn of(second: bool) -> Self {
        if second {
            Self::Vetoes
        } else {
            Self::IsLost
        }
    }

    /// Decides about a file that cannot go: an error if the reboot fails by it.
    pub(crate) fn decide<H: Lock>(self, host: &H, id: FileId, why: Failure) -> Result<(), Failure> {
        match self.about(host.now(|engine| engine.is_users(id))) {
            Self::Vetoes => Err(why),
            Self::IsLost => {
                tell(host, host.now(|engine| engine.part_of(id)), &why);
                host.now(|engine| engine.lose(id, Lost::Now(why.errno())));
                Ok(())
            }
        }
    }

    /// The obstacle rule for a file, by whether a user owns it: no user without privileges
    /// can keep the machine from its update, whatever the administrator has chosen.
    pub(crate) fn about(self, is_users: bool) -> Self {
        if is_users {
            Self::IsLost
        } else {
            self
        }
    }
}

/// Tells the host what is lost, unless it has been told of enough that is such a one's.
pub(crate) fn tell<H: Lock>(host: &H, part: Part, why: &Failure) {
    if host.now(|engine| engine.told.one_more(part)) {
        host.lost(why);
    }
}

/// Ends what [`tell`] has begun: how much the host was not told of.
pub(crate) fn tell_the_rest<H: Lock>(host: &H) {
    let told = host.now(|engine| core::mem::replace(&mut engine.told, Told::NOTHING));
    for part in Part::ALL {
        match told.unnamed(part) {
            0 => {}
            more => host.lost_unnamed(part, more),
        }
    }
}

/// Decides about all files that need what is not there, or is lost.
pub(crate) fn lose_those_who_miss<H: Lock>(host: &H, obstacle: Obstacle) -> Result<(), Failure> {
    if host.now(|engine| engine.graph.edge_count()) == 0 {
        return Ok(());
    }
    // Files come behind those that they need, so one pass finds all.
    let order = |engine: &mut Engine<H>| engine.arrange_outgoing(Whose::All, First::Dependencies);
    try_forwards(host, order, |id| {
        match host.now(|engine| engine.missed_by(id)) {
            Some(why) => obstacle.decide(host, id, why),
            None => Ok(()),
        }
    })
}

/// Loses what calls have in their hands that do not end. It stays as it is: nobody else may
/// touch it.
pub(crate) fn lose_what_is_in_hands<H: Lock>(host: &H) {
    each_in_hands(host, |id| {
        if let Some(file) = host.now(|engine| engine.file_name(id)) {
            let part = host.now(|engine| engine.part_of(id));
            tell(host, part, &Failure::UnderWay { file });
            host.now(|engine| engine.lose(id, Lost::InHands));
        }
    });
}

/// Does something for each file for the next kernel that a call has in its hands. A copy
/// that carries a file on is in nobody's: nobody has its session.
fn each_in_hands<H: Lock>(host: &H, mut step: impl FnMut(FileId)) {
    let waiter = Waiter::Reboot;
    if host.now(|engine| engine.under_way.count_for(waiter)) == 0 {
        return;
    }
    let mut session = host.now(|engine| engine.next_busy(None));
    while let Some(of) = session {
        let mut file = host.now(|engine| engine.next_in_hands(of, None));
        while let Some(id) = file {
            step(id);
            file = host.now(|engine| engine.next_in_hands(of, Some(id)));
        }
        session = host.now(|engine| engine.next_busy(Some(of)));
    }
}

/// Lets go of the files that are lost: those that need others first. Users' files stay as they
/// are: their handlers may wait for a lock that a user can hold for as long as it likes, and
/// nobody waits for a user here. Their memory is unused in the next kernel, which is told nothing
/// of them but that they are lost.
pub(crate) fn let_go_of_lost<H: Lock>(host: &H) {
    if host.now(|engine| engine.losses.files) == 0 {
        return;
    }
    let frozen = |engine: &mut Engine<H>| engine.arrange_outgoing(Whose::Frozen, First::Dependents);
    backwards(host, frozen, |id| {
        if host.now(|engine| engine.is_lost(id)) {
            unfreeze_file(host, Within::Transition, id);
        }
    });
    let lost = |engine: &mut Engine<H>| engine.arrange_outgoing(Whose::Lost, First::Dependencies);
    backwards(host, lost, |id| {
        if host.now(|engine| engine.stays_with_its_user(id)) {
            lose_file(host, id);
            return;
        }
        if let Some((live, handler, data)) = host.now(|engine| engine.take_live(id)) {
            let source = undo_preserve(host, handler, live, data);
            put_back_source(host, id, source);
        }
    });
}

/// Gives back the pages that the records of lost files do not need: the next kernel would
/// find them preserved and named by nobody.
pub(crate) fn trim_lost<H: Lock>(host: &H) {
    let lost = host.now(|engine| engine.outgoing_files(Whose::Lost).count());
    if lost == 0 {
        return;
    }
    let mut session = host.now(|engine| engine.outgoing.first);
    while let Some(id) = session {
        let kept = host.now(|engine| engine.count_with_room(id));
        while let Some(page) = host.now(|engine| engine.surplus_beyond(id, kept)) {
            drop(page);
        }
        session = host.now(|engine| engine.sessions.get(id).and_then(|s| s.links.next));
    }
    let records = host.now(|engine| engine.count_records_to_write());
    while let Some(page) = host.now(|engine| engine.record_chain.surplus(records)) {
        drop(page);
    }
}

/// The jump has not come about: what a reboot has lost is preserved again. What cannot
/// be is gone, and its owner's token is free.
pub(crate) fn regain<H: Lock>(host: &H) {
    each_in_hands(host, |id| host.now(|engine| engine.leave_in_hands(id)));
    let lost = |engine: &mut Engine<H>| engine.arrange_outgoing(Whose::Lost, First::Dependencies);
    forwards(host, lost, |id| {
        let again = match host.now(|engine| engine.find_again(id)) {
            Again::WithItsSession => return,
            again => again,
        };
        let room = with_pages(host, |engine, spares| {
            Poll::Ready(engine.make_room_again(id, spares))
        });
        let regained = room.and_then(|()| match again {
            Again::Preserved => prepare_file(host, id),
            _ => Ok(()),
        });
        if let Err(why) = regained {
            let (why, part, session) = host.now(|engine| {
                let session = engine.files.get(id).map(|file| file.session);
                (engine.failure_of(id, why), engine.part_of(id), session)
            });
            tell(host, part, &why);
            if let Some(session) = session {
                remove_preserved(host, Within::Transition, session, id);
            }
        }
    });
}

/// Loses a subsystem: cancels it if it has prepared, and counts it.
pub(crate) fn lose_subsystem<H: Lock>(host: &H, at: usize, why: &Failure) {
    tell(host, Part::Administrators, why);
    if let Some(call) = subsystem_calls::prepared(host, at) {
        call.table.cancel(host, call.data);
    }
    drop(subsystem_calls::set_prepared(host, at, None));
    host.now(|engine| engine.losses.subsystems = engine.losses.subsystems.saturating_add(1));
}

impl<H: Host> Engine<H> {
    /// The part of the log in which losses of a session are told: its user's, or the
    /// administrator's.
    #[must_use]
    pub fn part_of_session(&self, id: SessionId) -> Part {
        let session = self.sessions.get(id);
        session.map_or(Part::Administrators, |session| Part::of(session.owner))
    }

    /// [`Self::part_of_session`] of a file's session.
    fn part_of(&self, id: FileId) -> Part {
        let session = self.files.get(id).map(|file| file.session);
        session.map_or(Part::Administrators, |id| self.part_of_session(id))
    }

    /// Whether a file is a user's, and not a copy that carries one on, which no user has.
    fn stays_with_its_user(&self, id: FileId) -> bool {
        let session = self.files.get(id).map(|file| file.session);
        let session = session.and_then(|id| self.sessions.get(id));
        session.is_some_and(|session| {
            let carries = session.outgoing().is_some_and(|out| out.carries.is_some());
            session.owner.user().is_some() && !carries
        })
    }

    fn lose(&mut self, id: FileId, why: Lost) {
        let file = self.files.get_mut(id).and_then(File::as_outgoing_mut);
        if let Some(file) = file.filter(|file| file.lost.is_none()) {
            file.lost = Some(why);
            self.losses.files = self.losses.files.saturating_add(1);
        }
    }

    /// The jump has not come about: the call that has a file in its hands goes on with it.
    fn leave_in_hands(&mut self, id: FileId) {
        let file = self.files.get_mut(id).and_then(File::as_outgoing_mut);
        if let Some(file) = file.filter(|file| file.lost == Some(Lost::InHands)) {
            file.lost = None;
            self.losses.files = self.losses.files.saturating_sub(1);
        }
    }

    /// Why a file that is not lost cannot go, if something that it needs does not.
    pub(crate) fn missed_by(&self, id: FileId) -> Option<Failure> {
        let on = self
            .graph
            .dependencies(id)
            .find_map(|(_, target)| match target {
                Target::Gone(name) => Some(name),
                Target::File(on) if self.is_lost(on) => self.file_name(on),
                Target::File(_) => None,
            })?;
        if self.is_lost(id) {
            return None;
        }
        let file = self.file_name(id)?;
        Some(Failure::Dependency { file, on })
    }

    /// A page that so many files of a session do not need.
    fn surplus_beyond(&mut self, id: SessionId, files: usize) -> Option<H::Block> {
        let session = self.sessions.get_mut(id)?;
        session.outgoing_mut()?.chain.surplus(files)
    }

    /// Records of the supplement, but for what lost files need.
    fn count_records_to_write(&self) -> usize {
        let lost = self.outgoing_files(Whose::Lost);
        let edges = lost.map(|id| self.graph.dependency_count(id));
        self.records.saturating_sub(edges.sum())
    }

    /// Sees to it that there are pages for all files of a file's session, and all records;
    /// `None` if one is wanted first.
    fn make_room_again(
        &mut self,
        id: FileId,
        spares: &mut Spares<H::Block>,
    ) -> Result<Option<()>, Error> {
        let session = self.files.get(id).map(|file| file.session);
        let session = session.and_then(|id| self.sessions.get_mut(id));
        let session = session.ok_or(Error::NoSession)?;
        let files = session.files.len;
        let outgoing = session.outgoing_mut().ok_or(Error::WrongDirection)?;
        while outgoing.chain.wants(files)? {
            let Some(page) = spares.take() else {
                return Ok(None);
            };
            outgoing.chain.give(Some(page));
        }
        while self.record_chain.wants(self.records)? {
            let Some(page) = spares.take() else {
                return Ok(None);
            };
            self.record_chain.give(Some(page));
        }
        Ok(Some(()))
    }

    /// Takes the mark off a lost file.
    fn find_again(&mut self, id: FileId) -> Again {
        let Some(file) = self.files.get(id) else {
            return Again::WithItsSession;
        };
        // One that carries on what came from the previous kernel goes with its session.
        let session = self.sessions.get(file.session).and_then(Session::outgoing);
        if session.is_none_or(|session| session.carries.is_some()) {
            return Again::WithItsSession;
        }
        let file = self.files.get_mut(id).and_then(File::as_outgoing_mut);
        let Some(file) = file else {
            return Again::WithItsSession;
        };
        if matches!(file.lost.take(), Some(Lost::Now(_))) {
            self.losses.files = self.losses.files.saturating_sub(1);
        }
        if !file.registered && matches!(file.stage, Stage::Registered(Some(_))) {
            Again::Preserved
        } else {
            Again::Registered
        }
    }
}

/// The fate of a lost file when the jump does not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// It goes with its session, which carries another on.
    WithItsSession,
    /// It is registered on the device, as it was.
    Registered,
    /// It is to be preserved again.
    Preserved,
}
