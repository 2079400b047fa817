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
use crate::owner::{Actor, Owner};
use crate::quota::Quota;
use crate::session::pages::with_pages;
use crate::session::Direction;
use crate::text::SessionName;

/// Dependencies that the files of a session may have declared, all together.
pub const MAX_DEPENDENCIES_PER_SESSION: usize = 262_144;

/// Which file is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// One of the same session.
    Here(u64),
    /// One of another outgoing session.
    In(SessionName, u64),
    /// One of another outgoing session of which the caller has shown the descriptor.
    Of(SessionId, u64),
    /// One that was registered on the device.
    OnDevice(u64),
}

/// Declares that a file of an outgoing session needs another file.
///
/// It is preserved and restored after that one, and frozen and let go of before
/// it. If that one is not there at prepare or freeze, the whole update fails.
///
/// What a file of another session has to wait for, its session has to agree to: the caller
/// shows its descriptor, or is the user that it belongs to; or the caller has privileges, and
/// both sessions are the administrator's, or one user's.
///
/// # Errors
/// [`Error::NoConsent`], [`Error::OverQuota`], [`Error::UsersOverQuota`];
/// [`Error::NoToken`] and [`Error::NoSession`] if one of the two is not there,
/// [`Error::DependencyCycle`], [`Error::DependencyExists`], [`Error::WrongDirection`],
/// [`Error::TooManyDependencies`], [`Error::TooDense`], [`Error::Full`],
/// [`Error::NoMemory`]; [`Error::SessionFrozen`] if one of the two sessions is frozen before the
/// others; [`Error::Prepared`] and [`Error::Frozen`] for a first file that took part in the
/// prepare.
pub fn add_dependency<H: Lock>(
    host: &H,
    by: Actor,
    session: SessionId,
    token: u64,
    on: Needed,
) -> Result<(), Error> {
    let on = on.as_called_by(by)?;
    declare(host, Engine::declare_new, |engine| {
        let entry = ready!(engine.enter(session, Direction::Outgoing))?;
        if entry.dependencies >= MAX_DEPENDENCIES_PER_SESSION {
            return Poll::Ready(Err(Error::TooManyDependencies));
        }
        let from = engine.find_file(session, token).ok_or(Error::NoToken)?;
        engine.may_change_file(from)?;
        let needed = engine.find_needed(session, on)?;
        engine.consents(by, from, needed, on)?;
        // It would have to be frozen after this one.
        if let Some(other) = engine.files.get(needed) {
            engine.may_change_session(other.session)?;
        }
        engine.may_hold(session, Quota::Dependencies, 1)?;
        let on = needed;
        Poll::Ready(Ok((from, on)))
    })
}

/// Declares for a copy what is known of the original, in a transition, which has
/// everything for itself.
pub(crate) fn declare_in_transition<H: Lock>(
    host: &H,
    from: FileId,
    on: FileId,
) -> Result<(), Error> {
    declare(host, Engine::declare_known, |_| Poll::Ready(Ok((from, on))))
}

/// Adds an edge to the graph.
pub(super) type Declare<H> = fn(&mut Engine<H>, FileId, FileId) -> Result<(), Error>;

fn declare<H: Lock>(
    host: &H,
    declare: Declare<H>,
    mut find: impl FnMut(&mut Engine<H>) -> Poll<Result<(FileId, FileId), Error>>,
) -> Result<(), Error> {
    with_pages(host, |engine, spares| {
        let (from, on) = ready!(find(engine))?;
        let room = engine.try_declare(declare, from, on, spares)?;
        Poll::Ready(Ok(matches!(room, Room::Ready).then_some(())))
    })
}

/// Takes a dependency back, also one on a file that is gone. Another's session is named as
/// [`crate::ops::list_dependencies`] shows it.
///
/// # Errors
/// [`Error::NoToken`] if the first file is not there, [`Error::NoDependency`],
/// [`Error::WrongDirection`], [`Error::SessionFrozen`]; [`Error::Prepared`] and [`Error::Frozen`]
/// for a first file that took part in the prepare.
pub fn drop_dependency<H: Lock>(
    host: &H,
    by: Actor,
    session: SessionId,
    token: u64,
    on: Needed,
) -> Result<(), Error> {
    let own = on.as_called_by(by);
    let page = host.wait_killable(|engine| {
        ready!(engine.enter(session, Direction::Outgoing))?;
        let own = own.and_then(|own| engine.withdraw(session, token, own));
        Poll::Ready(match own {
            Err(Error::NoDependency | Error::NameTooLong | Error::BadName(_)) => {
                engine.withdraw(session, token, on)
            }
            own => own,
        })
    })??;
    drop(page);
    Ok(())
}

impl Needed {
    /// With the full name of the session that a caller names.
    fn as_called_by(self, by: Actor) -> Result<Self, Error> {
        Ok(match self {
            Self::In(name, token) => Self::In(by.full_name(&name)?, token),
            other => other,
        })
    }
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
        // The session is there, so its files are known by more than their names.
        Needed::Of(..) => false,
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
            Needed::Of(other, token) => match self.sessions.get(other) {
                None => Err(Error::NoSession),
                Some(other) if other.direction() != Direction::Outgoing => {
                    Err(Error::WrongDirection)
                }
                Some(_) => self.find_file(other, token).ok_or(Error::NoToken),
            },
            Needed::OnDevice(token) => self
                .find_device_file(Direction::Outgoing, token)
                .ok_or(Error::NoToken),
        }
    }

    /// Whether a caller may have a file need another.
    ///
    /// # Errors
    /// [`Error::NoConsent`]; [`Error::NoToken`] for a file of the device, of which who may
    /// not administer the machine learns nothing.
    fn consents(&self, by: Actor, from: FileId, on: FileId, named: Needed) -> Result<(), Error> {
        let session = |id: FileId| self.files.get(id).map(|file| file.session);
        let owner = |id| self.sessions.get(session(id)?).map(|session| session.owner);
        if matches!(named, Needed::Of(..)) || session(from) == session(on) {
            return Ok(());
        }
        let (Some(of), Some(other)) = (owner(from), owner(on)) else {
            return Err(Error::Inconsistent);
        };
        let agrees = match by {
            Actor::User(user) => other == Owner::User(user),
            Actor::Administrator => {
                of == other || (of.is_administrator() && other.is_administrator())
            }
        };
        match (agrees, by, other) {
            (true, ..) => Ok(()),
            (false, Actor::User(_), Owner::Device) => Err(Error::NoToken),
            (false, ..) => Err(Error::NoConsent),
        }
    }

    pub(super) fn declare_new(&mut self, from: FileId, on: FileId) -> Result<(), Error> {
        self.graph.declare(from, on)
    }

    fn declare_known(&mut self, from: FileId, on: FileId) -> Result<(), Error> {
        self.graph.adopt(from, on)
    }

    pub(super) fn try_declare(
        &mut self,
        declare: Declare<H>,
        from: FileId,
        on: FileId,
        spares: &mut Spares<H::Block>,
    ) -> Result<Room, Error> {
        let records = self.records.saturating_add(1);
        let wanted = self.record_chain.wants(records)?;
        if usize::from(wanted) > spares.len() {
            return Ok(Room::WantsBlock);
        }
        declare(self, from, on)?;
        if let Some(session) = self.files.get(from).map(|file| file.session) {
            self.count_dependencies(session, |count| count.saturating_add(1));
        }
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
        let gone = |target: &Target| match target {
            Target::File(_) => false,
            Target::Gone(gone) => is_meant(gone, &on, &own),
        };
        // A dependency on a missing file was declared before the file that has its name now.
        let missing = match self.graph.missing_count(from) {
            0 => None,
            _ => {
                let mut declared = self.graph.dependencies(from).map(|(_, target)| target);
                declared.find(gone)
            }
        };
        let target = missing.or(alive.map(Target::File));
        let target = target.ok_or(Error::NoDependency)?;
        if !self.graph.withdraw(from, &target) {
            return Err(Error::NoDependency);
        }
        self.count_dependencies(session, |count| count.saturating_sub(1));
        self.records = self.records.saturating_sub(1);
        Ok(self.surplus_record_page())
    }
}
