// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls on what came from the previous kernel.

use luo_abi::contract::{LIST_INCOMING, SESSION_OF_DEVICE};
use luo_abi::rfc::State;
use luo_core::{Actor, Error, ops};
use luo_testhost::host::TestFile;

use super::op::Mine;
use super::truth::{File, Incoming, pick, text};
use super::world::{World, is_of_trouble, session_name};
use crate::queries;

/// What comes back is what was preserved.
fn check(file: &TestFile, known: &File) {
    assert_eq!((file.object, file.kind), (known.object, known.kind));
    assert_eq!(file.access, known.access);
}

impl World {
    pub(super) fn claim(&mut self, who: usize, label: u8, answered: bool) {
        let name = session_name(label);
        let answer =
            self.whole(|host| ops::retrieve_session(host, luo_core::Actor::Administrator, &name));
        let at = self
            .truth
            .incoming
            .iter()
            .position(|s| s.label == Some(label));
        let id = match answer {
            Ok(id) => id,
            Err(why) => return self.excuse_claim(at, &why),
        };
        let at = at.expect("a session that was handed over");
        let session = &self.truth.incoming[at];
        assert_eq!(session.held, None, "a session twice");
        if !session.released {
            self.compare_arrived(id, session);
        }
        if answered {
            self.truth.incoming[at].held = Some((who, id));
        } else {
            ops::put_back_session(self.host(), id);
        }
    }

    fn compare_arrived(&self, id: luo_core::SessionId, session: &Incoming) {
        let files = queries::files(self.host(), id);
        let tokens: Vec<u64> = files.iter().map(|file| file.token).collect();
        let known: Vec<u64> = session.files.iter().map(|file| file.token).collect();
        assert_eq!(tokens, known, "files of a session that arrived");
        if self.truth.incoming.iter().all(|session| !session.released) {
            for file in &session.files {
                self.compare_needs(id, file);
            }
        }
    }

    fn excuse_claim(&self, at: Option<usize>, why: &Error) {
        let session = at.map(|at| &self.truth.incoming[at]);
        match why {
            Error::NoSession => {
                let gone = session.is_none_or(|session| session.released);
                assert!(gone || !self.truth.opened, "a session is lost");
            }
            Error::AlreadyRetrieved => {
                let session = session.expect("a session that was handed over");
                assert!(session.held.is_some() || session.released);
            }
            Error::Frozen => assert_eq!(self.state(), State::Frozen),
            why => assert!(self.is_troubled() && is_of_trouble(why), "{why}"),
        }
    }

    pub(super) fn retrieve(&mut self, mine: Mine) {
        let Some(at) = self.truth.incoming_of(mine.who.0.into(), mine.session.0) else {
            return;
        };
        self.retrieve_from(at, mine.token.0.into());
    }

    fn retrieve_from(&mut self, at: usize, token: u64) {
        self.truth.tainted |= self.is_troubled();
        let Some((_, id)) = self.truth.incoming[at].held else {
            return;
        };
        let answer = ops::retrieve_file(self.host(), Actor::Administrator, id, token);
        let session = &self.truth.incoming[at];
        let known = session.files.iter().find(|file| file.token == token);
        match answer {
            Ok(file) => {
                check(&file, known.expect("a file that was handed over"));
                self.reached.retrieved += 1;
            }
            Err(Error::NoToken) => {
                assert!(known.is_none() || session.released, "a file is lost");
            }
            Err(Error::Frozen) => assert_eq!(self.state(), State::Frozen),
            // It needs a file of another session, whose owner has not taken it back.
            Err(Error::Awaits(_)) => {}
            Err(why) => assert!(
                session.released || (self.truth.tainted && is_of_trouble(&why)),
                "{why}"
            ),
        }
    }

    pub(super) fn restore(&mut self, which: u8, answered: bool) {
        let host = self.host.as_ref().expect("a machine");
        self.truth.tainted |= self.is_troubled();
        let devices = self.truth.incoming.iter_mut().filter(|s| s.label.is_none());
        let files = devices.flat_map(|s| {
            let released = s.released;
            s.files.iter_mut().map(move |file| (released, file))
        });
        let Some((released, known)) = pick(files, which) else {
            return;
        };
        match ops::restore_file(host, known.token) {
            Ok((id, file)) => {
                check(&file, known);
                drop(file);
                known.restored = answered;
                if !answered {
                    ops::put_back_file(host, id);
                }
                self.reached.retrieved += 1;
            }
            Err(Error::NoToken) => assert!(released || !self.truth.opened, "a file is lost"),
            Err(Error::AlreadyRestored) => assert!(known.restored || released),
            Err(Error::NotUpdated) => assert_ne!(self.state(), State::Updated),
            Err(Error::Lost(_)) => assert!(released),
            Err(Error::Frozen) => assert_eq!(self.state(), State::Frozen),
            Err(Error::Awaits(_)) => {}
            Err(why) => assert!(self.truth.tainted && is_of_trouble(&why), "{why}"),
        }
    }

    pub(super) fn finish(&mut self, who: usize, which: u8) {
        let Some(at) = self.truth.incoming_of(who, which) else {
            return;
        };
        let Some((_, id)) = self.truth.incoming[at].held else {
            return;
        };
        let answer = ops::finish_session(self.host(), id);
        match answer {
            Ok(()) => self.truth.incoming[at].released = true,
            Err(Error::Frozen) => assert_eq!(self.state(), State::Frozen),
            Err(Error::Needed { .. } | Error::CannotFinish { .. }) => {}
            Err(why) => assert!(self.is_troubled() && is_of_trouble(&why), "{why}"),
        }
    }

    pub(super) fn finish_update(&mut self) {
        self.truth.tainted |= self.is_troubled();
        match ops::finish_update(self.host(), |_| ()) {
            Ok(_) => {
                assert_eq!(self.state(), State::Normal);
                for session in &mut self.truth.incoming {
                    session.released = true;
                }
            }
            Err(Error::Illegal { state, .. }) => assert_ne!(state, State::Updated),
            Err(why) => assert!(self.is_troubled() && is_of_trouble(&why), "{why}"),
        }
    }

    /// What is not finished at its close is later.
    pub(super) fn close_incoming(&mut self, at: usize) {
        let Some((_, id)) = self.truth.incoming[at].held.take() else {
            return;
        };
        self.truth.incoming[at].released = true;
        let _ = ops::close_session(self.host(), id);
    }

    /// No session is lost that nobody has let go of.
    pub(super) fn compare_incoming(&self) {
        if !self.truth.opened {
            return;
        }
        let listed = queries::sessions(self.host(), LIST_INCOMING);
        let named = listed.iter().filter(|s| s.flags & SESSION_OF_DEVICE == 0);
        let named: Vec<_> = named.map(|s| (queries::text(&s.name), s.files)).collect();
        for session in self.truth.incoming.iter().filter(|s| !s.released) {
            if let Some(label) = session.label {
                let known = (text(label), session.files.len() as u64);
                let there = named
                    .iter()
                    .any(|(name, files)| (*name, *files) == (&*known.0, known.1));
                assert!(there, "session {label} is lost: {listed:?}");
            }
        }
        let mut sorted: Vec<_> = named.iter().map(|(name, _)| name).collect();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), named.len(), "a name twice");
        if self.state() == State::Updated {
            let arrived = queries::arrived(self.host());
            let devices = self.truth.incoming.iter();
            let devices = devices.filter(|s| s.label.is_none() && !s.released);
            for file in devices.flat_map(|session| &session.files) {
                let there = arrived.iter().any(|entry| entry.token == file.token);
                assert!(there, "file {:#x} of the device is lost", file.token);
            }
        }
    }

    /// Claims what nobody has, for a client that takes all of it back.
    pub(super) fn claim_all(&mut self) {
        for label in 0..5 {
            self.claim(3, label, true);
        }
        for at in 0..self.truth.incoming.len() {
            for file in self.truth.incoming[at].files.clone() {
                self.retrieve_from(at, file.token);
            }
        }
        let devices = self.truth.incoming.iter().filter(|s| s.label.is_none());
        let count = devices.map(|session| session.files.len()).sum::<usize>();
        for which in 0..count.min(255) {
            self.restore(which as u8, true);
        }
    }
}
