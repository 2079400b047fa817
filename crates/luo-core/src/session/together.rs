// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Finishing closed sessions whose files need each other.
//!
//! A session is finished as a whole, after all that need one of its files. Two
//! sessions can each need a file of the other without there being a cycle of
//! files; one at a time, neither could ever be finished. So those that are closed
//! and wait are tried as a group: whoever is needed from outside leaves it, and
//! whoever has a handler that does not let go, and then whatever those need; what
//! is left is finished file by file. All of it is O(files and dependencies).

use core::task::Poll;

use crate::engine::{files_of, Engine};
use crate::graph::{First, Order, Target};
use crate::host::Host;
use crate::id::{FileId, SessionId};
use crate::lock::Lock;
use crate::mem::{OutOfMemory, Vec};
use crate::owner::Actor;
use crate::session::finish::{can_finish, finish_file};
use crate::session::remove::remove_locked;
use crate::session::{Direction, Session, State};
use crate::walk::backwards;

/// Finishes, of the sessions that were closed while they could not be, those that
/// can be. It waits for nobody.
pub(crate) fn finish_together<H: Lock>(host: &H, by: Actor) {
    if !host.now(|engine| engine.gather_closed(by)) {
        return;
    }
    // Nobody else touches them now; whoever leaves the group can be had again.
    if exclude_who_cannot(host).is_ok() {
        // From the end: dependents first, and else the last first.
        backwards(host, Engine::arrange_together, |id| {
            finish_file(host, id);
        });
        let mut session = host.now(|engine| engine.next_together(None));
        while let Some(id) = session {
            session = host.now(|engine| engine.next_together(Some(id)));
            remove_locked(host, id);
        }
    }
    // For want of memory all are there still: the first call on the next open descriptor tries again.
    host.now(|engine| {
        engine.disband();
    });
}

fn exclude_who_cannot<H: Lock>(host: &H) -> Result<(), OutOfMemory> {
    host.now(|engine| engine.exclude_needed())?;
    let mut session = host.now(|engine| engine.next_together(None));
    while let Some(id) = session {
        session = host.now(|engine| engine.next_together(Some(id)));
        if !all_let_go(host, id) {
            host.now(|engine| engine.exclude(id))?;
        }
    }
    Ok(())
}

/// Asks the handlers of all files of a session that is in the group.
fn all_let_go<H: Lock>(host: &H, id: SessionId) -> bool {
    let mut file = host.now(|engine| engine.first_together(id));
    while let Some(id) = file {
        file = host.now(|engine| engine.files.get(id).and_then(|f| f.links.next));
        if !can_finish(host, id) {
            return false;
        }
    }
    true
}

fn is_together<H: Host>(session: &Session<H>) -> bool {
    session.incoming().is_some_and(|incoming| incoming.together)
}

impl<H: Host> Engine<H> {
    /// Takes all closed sessions that wait to be finished, as far as a caller may try
    /// them, into a group, if it can make a difference. True if there is a group to be dealt with.
    fn gather_closed(&mut self, by: Actor) -> bool {
        // One group at a time; and a transition must not wait for one that waits
        // for it.
        if self.gathered
            || self.update.is_moving()
            || self.update.admits() != Poll::Ready(Ok(()))
            || self.closed_pending < 2
            || self.graph.edge_count() == 0
        {
            return false;
        }
        self.gathered = true;
        let mut next = self.first_for(by, Direction::Incoming);
        while let Some((id, session)) = next.and_then(|id| Some((id, self.sessions.get_mut(id)?))) {
            next = Self::behind(by, session);
            if session.state == State::CLOSED_PENDING && session.busy == 0 {
                if let Some(incoming) = session.incoming_mut() {
                    incoming.together = true;
                }
                self.set_state(id, State::Locked);
                self.mark_busy(id);
            }
        }
        true
    }

    /// Everybody leaves the group.
    fn disband(&mut self) {
        let mut next = self.next_together(None);
        while let Some(id) = next {
            next = self.next_together(Some(id));
            self.leave(id);
        }
        self.gathered = false;
    }

    fn leave(&mut self, id: SessionId) {
        let session = self.sessions.get_mut(id);
        if let Some(incoming) = session.and_then(Session::incoming_mut) {
            incoming.together = false;
        }
        self.unlock_session(id, State::CLOSED_PENDING);
    }

    /// Sessions whose files are needed from outside leave the group.
    fn exclude_needed(&mut self) -> Result<(), OutOfMemory> {
        let mut next = self.next_together(None);
        while let Some(id) = next {
            next = self.next_together(Some(id));
            if self.is_needed_outside(id) {
                self.exclude(id)?;
            }
        }
        Ok(())
    }

    fn is_needed_outside(&self, session: SessionId) -> bool {
        let mut next = self.first_together(session);
        while let Some(id) = next {
            if self.graph.dependents(id).any(|by| !self.in_group(by)) {
                return true;
            }
            next = self.files.get(id).and_then(|file| file.links.next);
        }
        false
    }

    fn in_group(&self, file: FileId) -> bool {
        let session = self.files.get(file).map(|file| file.session);
        let session = session.and_then(|id| self.sessions.get(id));
        session.is_some_and(is_together)
    }

    /// A session leaves the group, and with it all that it needs, directly or not.
    fn exclude(&mut self, session: SessionId) -> Result<(), OutOfMemory> {
        let mut leaving = Vec::new();
        leaving.push(session)?;
        while let Some(id) = leaving.pop() {
            // It may have been put there twice.
            let mut next = self.first_together(id);
            if self.sessions.get(id).is_some_and(is_together) {
                self.leave(id);
            }
            while let Some(file) = next {
                let targets = self.graph.dependencies(file).map(|(_, target)| target);
                for target in targets {
                    let Target::File(on) = target else { continue };
                    if let (true, Some(on)) = (self.in_group(on), self.files.get(on)) {
                        leaving.push(on.session)?;
                    }
                }
                next = self.files.get(file).and_then(|file| file.links.next);
            }
        }
        Ok(())
    }

    /// The first file of a session that is in the group.
    fn first_together(&self, id: SessionId) -> Option<FileId> {
        let session = self.sessions.get(id).filter(|s| is_together(s))?;
        session.files.first
    }

    /// The next session behind `after` that is in the group.
    fn next_together(&self, after: Option<SessionId>) -> Option<SessionId> {
        let mut next = match after {
            Some(after) => self.sessions.get(after)?.links.next,
            None => self.incoming.first,
        };
        while let Some((id, session)) = next.and_then(|id| Some((id, self.sessions.get(id)?))) {
            if is_together(session) {
                return Some(id);
            }
            next = session.links.next;
        }
        None
    }

    fn arrange_together(&mut self) -> Order {
        let all = files_of(
            &self.sessions,
            &self.files,
            &self.incoming,
            is_together::<H>,
        );
        self.graph.arrange(all, First::Dependencies)
    }
}
