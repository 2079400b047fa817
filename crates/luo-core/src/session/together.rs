// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Finishing closed sessions whose files need each other.
//!
//! A session is finished as a whole, after all that need one of its files. Two
//! sessions can each need a file of the other without there being a cycle of
//! files; one at a time, neither could ever be finished. So those that are closed
//! and wait are tried as a group. A session leaves the group if a file outside of the group
//! needs one of its files, or if a handler does not let go of one; then all sessions leave that it
//! needs. The rest is finished file by file. All of it is O(files and dependencies), in stretches
//! between which the engine's lock is given up. That is safe, because files that have arrived get
//! no new dependencies, and no other call touches those of the group.
//! There may be several groups at once, of different owners.

use core::task::{ready, Poll};

use crate::engine::{Backwards, Engine};
use crate::error::Error;
use crate::graph::{Budget, First, Graph, Target};
use crate::host::Host;
use crate::id::{FileId, SessionId};
use crate::lock::Lock;
use crate::mem::{OutOfMemory, Vec};
use crate::room::with_room;
use crate::session::finish::{can_finish, finish_file};
use crate::session::remove::remove_locked;
use crate::session::scope::Scope;
use crate::session::Session;
use crate::within::Within;

/// Finishes, of the sessions of a scope that were closed while they could not be, those
/// that can be; whether there was one. It waits for nobody.
pub(crate) fn finish_together<H: Lock>(host: &H, scope: Scope) -> bool {
    let Some(group) = host.now(|engine| engine.begin_group(scope)) else {
        return false;
    };
    let mut last = None;
    while !host.now(|engine| engine.gather(group, &mut last)) {}
    let mut some_went = false;
    // Nobody else touches them now; whoever leaves the group can be had again.
    if exclude_who_cannot(host, group).is_ok() {
        // From the end: dependents first, and else the last first.
        let mut next = arrange_together(host, group);
        while let Some(id) = next {
            next = host.now(|engine| engine.before(id, Backwards::InOrder));
            finish_file(host, Within::Call, id);
        }
        let mut session = host.now(|engine| engine.next_together(group, None));
        while let Some(id) = session {
            session = host.now(|engine| engine.next_together(group, Some(id)));
            remove_locked(host, Within::Call, id);
            some_went = true;
        }
    }
    // For want of memory all are there still: the first call on the next open descriptor tries again.
    while !host.wait(|engine| {
        if engine.next_together(group, None).is_some() {
            ready!(engine.update.may_go_on());
        }
        Poll::Ready(engine.disband(group))
    }) {}
    some_went
}

fn exclude_who_cannot<H: Lock>(host: &H, group: Group) -> Result<(), Error> {
    each_together(host, group, |id| is_needed_outside(host, group, id))?;
    each_together(host, group, |id| !all_let_go(host, group, id))
}

/// Excludes those sessions of the group for which `leaves` holds.
fn each_together<H: Lock>(
    host: &H,
    group: Group,
    leaves: impl Fn(SessionId) -> bool,
) -> Result<(), Error> {
    let mut session = host.now(|engine| engine.next_together(group, None));
    while let Some(id) = session {
        if leaves(id) {
            exclude(host, group, id)?;
        }
        session = host.now(|engine| {
            // One that has left may be gone by now, or finished: then from the beginning.
            let there = engine.sessions.get(id).filter(|s| !s.is_finished());
            engine.next_together(group, there.map(|_| id))
        });
    }
    Ok(())
}

/// Whether files of a session in the group are needed from outside.
fn is_needed_outside<H: Lock>(host: &H, group: Group, session: SessionId) -> bool {
    let mut next = host.now(|engine| engine.first_together(group, session));
    while let Some(first) = next {
        match host.now(|engine| engine.needed_outside(group, first)) {
            Ok(behind) => next = behind,
            Err(()) => return true,
        }
    }
    false
}

/// A session leaves the group, and with it all that it needs, directly or not.
fn exclude<H: Lock>(host: &H, group: Group, session: SessionId) -> Result<(), Error> {
    let mut leaving = Vec::with_capacity(1)?;
    leaving.push(session)?;
    while let Some(id) = leaving.pop() {
        // It may have been put there twice.
        let mut next = host.now(|engine| engine.first_together(group, id));
        while let Some(first) = next {
            next = with_room(|| {
                host.now(|engine| {
                    engine
                        .note_needed(group, first, &mut leaving)
                        .map_err(Error::from)
                })
            })?;
        }
        // Last: nobody else has touched its files until now.
        Within::Call.step(host, |engine| engine.leave_together(group, id));
    }
    Ok(())
}

/// Puts the files of the group in order; gives the last.
fn arrange_together<H: Lock>(host: &H, group: Group) -> Option<FileId> {
    let mut ordering = host.now(|engine| {
        let first = engine.first_from(group, engine.next_together(group, None));
        engine.begin_ordering(first, First::Dependencies)
    });
    let behind = |engine: &Engine<H>, id| engine.behind_together(group, id);
    while !host.now(|engine| engine.go_on_ordering(&mut ordering, behind)) {}
    ordering.last()
}

/// Asks the handlers of all files of a session that is in the group.
fn all_let_go<H: Lock>(host: &H, group: Group, id: SessionId) -> bool {
    let mut file = host.now(|engine| engine.first_together(group, id));
    while let Some(id) = file {
        file = host.now(|engine| engine.files.get(id).and_then(|f| f.links.next));
        if !can_finish(host, id) {
            return false;
        }
    }
    true
}

/// Sessions that are being finished together, all of one scope.
#[derive(Clone, Copy)]
struct Group {
    number: u32,
    scope: Scope,
}

impl Group {
    /// One for a scope that is not among those there are. With so many at once, somebody is at it
    /// already; one is kept free of users.
    const fn free(taken: u32, scope: Scope) -> Option<Self> {
        let number = taken.trailing_ones();
        let most = match scope {
            Scope::User(_) => u32::BITS.saturating_sub(1),
            Scope::All | Scope::NoUsers => u32::BITS,
        };
        if number < most {
            Some(Self { number, scope })
        } else {
            None
        }
    }

    fn has<H: Host>(self, session: &Session<H>) -> bool {
        let group = session.incoming().and_then(|incoming| incoming.together);
        group == Some(self.number)
    }

    /// Its bit in the set of all groups.
    const fn bit(self) -> u32 {
        1u32.wrapping_shl(self.number)
    }
}

impl<H: Host> Engine<H> {
    /// Begins a group of closed sessions of a scope, if it can make a difference. `None` if
    /// there is nothing to be dealt with.
    fn begin_group(&mut self, scope: Scope) -> Option<Group> {
        // A transition must not wait for a group that waits for it.
        if self.update.is_moving()
            || self.update.admits() != Poll::Ready(Ok(()))
            || self.closed_pending < 2
            || self.graph.edge_count() == 0
        {
            return None;
        }
        let group = Group::free(self.groups, scope)?;
        self.groups |= group.bit();
        Some(group)
    }

    /// Takes those that wait to be finished into the group, of a stretch of the closed sessions
    /// behind `last`. True if there are no more.
    fn gather(&mut self, group: Group, last: &mut Option<SessionId>) -> bool {
        // As above; what is in the group by now is enough for it.
        if self.update.is_moving() || self.update.admits() != Poll::Ready(Ok(())) {
            return true;
        }
        let mut budget = Budget::of_a_stretch();
        while let Some(id) = self.next_closed(group.scope, *last, |_| true) {
            if !budget.has_room_for(0) {
                return false;
            }
            *last = Some(id);
            let session = self.sessions.get_mut(id);
            let session = session.filter(|of| of.is_closed_pending() && of.busy == 0);
            if let Some(incoming) = session.and_then(Session::incoming_mut) {
                incoming.together = Some(group.number);
                self.take_session(id);
            }
        }
        true
    }

    /// As many leave the group as a stretch has. True if nobody is left in it.
    fn disband(&mut self, group: Group) -> bool {
        let mut budget = Budget::of_a_stretch();
        let mut next = self.next_together(group, None);
        while let Some(id) = next {
            if !budget.has_room_for(0) {
                return false;
            }
            next = self.next_together(group, Some(id));
            self.leave(id);
        }
        self.groups &= !group.bit();
        true
    }

    fn leave(&mut self, id: SessionId) {
        let session = self.sessions.get_mut(id);
        if let Some(incoming) = session.and_then(Session::incoming_mut) {
            incoming.together = None;
        }
        self.unlock_closed(id);
    }

    /// Looks from a file on whether files of its session are needed from outside the group:
    /// the file behind the stretch that is not, or an error if one is.
    fn needed_outside(&self, group: Group, first: FileId) -> Result<Option<FileId>, ()> {
        self.look_along(first, Graph::dependent_count, |id, _| {
            let mut dependents = self.graph.dependents(id);
            match dependents.any(|by| !self.in_group(group, by)) {
                true => Err(()),
                false => Ok(()),
            }
        })
    }

    fn in_group(&self, group: Group, file: FileId) -> bool {
        let session = self.files.get(file).map(|file| file.session);
        let session = session.and_then(|id| self.sessions.get(id));
        session.is_some_and(|session| group.has(session))
    }

    /// Notes from a file on the sessions of the group whose files those of its session need;
    /// gives the file behind the stretch.
    fn note_needed(
        &self,
        group: Group,
        first: FileId,
        leaving: &mut Vec<SessionId>,
    ) -> Result<Option<FileId>, OutOfMemory> {
        self.look_along(first, Graph::dependency_count, |id, file| {
            for (_, target) in self.graph.dependencies(id) {
                let Target::File(on) = target else { continue };
                let of = self.files.get(on).map(|file| file.session);
                let elsewhere = of.filter(|&of| of != file.session);
                if let Some(of) = elsewhere.filter(|_| self.in_group(group, on)) {
                    leaving.push(of)?;
                }
            }
            Ok(())
        })
    }

    /// A session leaves the group, if it is in it.
    fn leave_together(&mut self, group: Group, id: SessionId) {
        if self.sessions.get(id).is_some_and(|of| group.has(of)) {
            self.leave(id);
        }
    }

    /// The first file of a session that is in the group.
    fn first_together(&self, group: Group, id: SessionId) -> Option<FileId> {
        let session = self.sessions.get(id).filter(|of| group.has(of))?;
        session.files.first
    }

    /// The next session behind `after` that is in the group.
    fn next_together(&self, group: Group, after: Option<SessionId>) -> Option<SessionId> {
        self.next_closed(group.scope, after, |session| group.has(session))
    }

    /// The first file of the first session from one on in the group that has any.
    fn first_from(&self, group: Group, mut session: Option<SessionId>) -> Option<FileId> {
        while let Some(id) = session {
            if let Some(file) = self.first_together(group, id) {
                return Some(file);
            }
            session = self.next_together(group, Some(id));
        }
        None
    }

    /// The file behind one of the group.
    fn behind_together(&self, group: Group, id: FileId) -> Option<FileId> {
        let file = self.files.get(id)?;
        let next = || self.first_from(group, self.next_together(group, Some(file.session)));
        file.links.next.or_else(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_cannot_have_all_groups() {
        let mut taken = 0;
        let mut of_users = 0;
        while let Some(group) = Group::free(taken, Scope::User(of_users)) {
            assert_eq!(taken & group.bit(), 0);
            taken |= group.bit();
            of_users += 1;
        }
        assert_eq!(of_users, 31);
        for scope in [Scope::All, Scope::NoUsers] {
            let group = Group::free(taken, scope).unwrap();
            assert_eq!(taken & group.bit(), 0);
            assert!(Group::free(taken | group.bit(), scope).is_none());
        }
    }
}
