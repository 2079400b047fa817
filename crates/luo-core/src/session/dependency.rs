// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Declaring that a file needs another, and taking that back.

use core::task::{ready, Poll};

use crate::engine::Engine;
use crate::error::Error;
use crate::file_name::FileName;
use crate::graph::Target;
use crate::handover::block::{Room, Spares};
use crate::host::Host;
use crate::id::{FileId, SessionId};
use crate::lock::Lock;
use crate::session::pages::with_pages;
use crate::session::Direction;
use crate::text::SessionName;

/// Which file is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// One of the same session.
    Here(u64),
    /// One of another outgoing session.
    In(SessionName, u64),
    /// One that was registered on the device.
    OnDevice(u64),
}

/// Declares that a file of an outgoing session needs another file.
///
/// It is preserved and restored after that one, and frozen and let go of before
/// it. If that one is not there at prepare or freeze, the whole update fails.
///
/// # Errors
/// [`Error::NoToken`] and [`Error::NoSession`] if one of the two is not there,
/// [`Error::DependencyCycle`], [`Error::DependencyExists`], [`Error::WrongDirection`],
/// [`Error::Full`], [`Error::NoMemory`]; [`Error::Prepared`] and [`Error::Frozen`] for
/// a first file that took part in the prepare.
pub fn add_dependency<H: Lock>(
    host: &H,
    session: SessionId,
    token: u64,
    on: Needed,
) -> Result<(), Error> {
    declare(host, |engine| {
        ready!(engine.enter(session, Direction::Outgoing))?;
        let from = engine.find_file(session, token).ok_or(Error::NoToken)?;
        engine.may_change_file(from)?;
        let on = engine.find_needed(session, on)?;
        Poll::Ready(Ok((from, on)))
    })
}

/// [`add_dependency`] for a transition, which has everything for itself.
pub(crate) fn declare_in_transition<H: Lock>(
    host: &H,
    from: FileId,
    on: FileId,
) -> Result<(), Error> {
    declare(host, |_| Poll::Ready(Ok((from, on))))
}

fn declare<H: Lock>(
    host: &H,
    mut find: impl FnMut(&mut Engine<H>) -> Poll<Result<(FileId, FileId), Error>>,
) -> Result<(), Error> {
    with_pages(host, |engine, spares| {
        let (from, on) = ready!(find(engine))?;
        let room = engine.try_declare(from, on, spares)?;
        Poll::Ready(Ok(matches!(room, Room::Ready).then_some(())))
    })
}

/// Takes a dependency back, also one on a file that is gone.
///
/// # Errors
/// [`Error::NoToken`] if the first file is not there, [`Error::NoDependency`],
/// [`Error::WrongDirection`]; [`Error::Prepared`] and [`Error::Frozen`] for a first file
/// that took part in the prepare.
pub fn drop_dependency<H: Lock>(
    host: &H,
    session: SessionId,
    token: u64,
    on: Needed,
) -> Result<(), Error> {
    let page = host.wait(|engine| {
        ready!(engine.enter(session, Direction::Outgoing))?;
        Poll::Ready(engine.withdraw(session, token, on))
    })?;
    drop(page);
    Ok(())
}

/// Whether a file that is gone, and so known by its name only, is the one that is
/// meant by a caller whose own file is `own`.
fn is_meant(gone: &FileName, on: &Needed, own: &FileName) -> bool {
    match on {
        Needed::Here(token) => gone.is_same(&FileName {
            token: *token,
            ..*own
        }),
        Needed::In(session, token) => gone.session == *session && gone.token == *token,
        Needed::OnDevice(token) => gone.of_device && gone.token == *token,
    }
}

impl<H: Host> Engine<H> {
    fn find_needed(&self, session: SessionId, on: Needed) -> Result<FileId, Error> {
        match on {
            Needed::Here(token) => self.find_file(session, token).ok_or(Error::NoToken),
            Needed::In(name, token) => {
                let other = self.find_session(Direction::Outgoing, &name);
                let other = other.ok_or(Error::NoSession)?;
                self.find_file(other, token).ok_or(Error::NoToken)
            }
            Needed::OnDevice(token) => self
                .find_device_file(Direction::Outgoing, token)
                .ok_or(Error::NoToken),
        }
    }

    fn try_declare(
        &mut self,
        from: FileId,
        on: FileId,
        spares: &mut Spares<H::Block>,
    ) -> Result<Room, Error> {
        let records = self.records.saturating_add(1);
        let wanted = self.record_chain.wants(records)?;
        if usize::from(wanted) > spares.len() {
            return Ok(Room::WantsBlock);
        }
        self.graph.declare(from, on)?;
        self.record_chain.give(spares.take_if(wanted));
        self.records = records;
        Ok(Room::Ready)
    }

    /// Takes a dependency back; gives a page that is not needed any more.
    fn withdraw(
        &mut self,
        session: SessionId,
        token: u64,
        on: Needed,
    ) -> Result<Option<H::Block>, Error> {
        let from = self.find_file(session, token).ok_or(Error::NoToken)?;
        self.may_change_file(from)?;
        let alive = self.find_needed(session, on).ok();
        let own = self.file_name(from).ok_or(Error::Inconsistent)?;
        let same = |target: &Target| match target {
            Target::File(on) => Some(*on) == alive,
            Target::Gone(gone) => is_meant(gone, &on, &own),
        };
        let mut declared = self.graph.dependencies(from).map(|(_, target)| target);
        let target = declared.find(same).ok_or(Error::NoDependency)?;
        drop(declared);
        self.graph.withdraw(from, &target);
        self.records = self.records.saturating_sub(1);
        Ok(self.surplus_record_page())
    }
}
