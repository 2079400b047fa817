// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls on what is to reach the next kernel.

use luo_core::ops::{self, Needed};
use luo_core::{Access, Actor, Error, SessionId};
use luo_testhost::host::TestFile;

use super::op::{Mine, What, Where};
use super::truth::{File, Outgoing, pick, text};
use super::world::{World, is_of_trouble, session_name};

fn access(number: u8) -> Access {
    Access::from_number(number.into()).unwrap_or(Access::Full)
}

impl World {
    pub(super) fn create(&mut self, who: usize, label: u8) {
        let name = session_name(label);
        let answer =
            self.whole(|host| ops::create_session(host, luo_core::Actor::Administrator, &name));
        let there = |session: &Outgoing| session.label == Some(label);
        match answer {
            Ok(id) => {
                assert!(!self.truth.sealed);
                let late = !self.is_open();
                // One that is closed and kept makes room.
                let kept = self.truth.outgoing.iter().position(there);
                if let Some(at) = kept {
                    let kept = self.truth.outgoing.remove(at);
                    assert!(late && kept.owner.is_none(), "a name twice");
                }
                self.truth.outgoing.push(Outgoing {
                    id,
                    label: Some(label),
                    owner: Some(who),
                    files: Vec::new(),
                    frozen: false,
                    late,
                });
            }
            Err(Error::SessionExists) => assert!(
                !self.is_open() || self.truth.outgoing.iter().any(there),
                "no session has this name"
            ),
            Err(why) => {
                self.excuse(&why);
                self.forget_undone(label);
            }
        }
    }

    /// One that is closed and kept makes room before it is known whether there is memory for
    /// the new one.
    fn forget_undone(&mut self, label: u8) {
        let is_gone = |session: &Outgoing| {
            let info = |id| self.host().engine(|engine| engine.session_info(id));
            session.label == Some(label) && session.owner.is_none() && info(session.id).is_none()
        };
        if let Some(at) = self.truth.outgoing.iter().position(is_gone) {
            self.truth.outgoing.remove(at);
        }
    }

    /// An error must have a reason: the state, or what was made to fail.
    fn excuse(&self, why: &Error) {
        let of_state = matches!(why, Error::Prepared | Error::Frozen) && !self.is_open();
        let mut sessions = self.truth.outgoing.iter();
        let of_freeze = *why == Error::SessionFrozen && sessions.any(|session| session.frozen);
        let of_trouble = self.is_troubled() && is_of_trouble(why);
        assert!(of_state || of_freeze || of_trouble, "no reason for: {why}");
    }

    fn file(&self, what: What) -> TestFile {
        let (kind, object) = (what.kind.0.into(), what.object.0.into());
        self.host()
            .new_file_with(kind, object, access(what.access.0))
    }

    /// The session of a client's that is meant; the device is the last.
    fn session_of(&self, mine: Mine) -> Option<usize> {
        let who = mine.who.0.into();
        match mine.session.0 {
            3 => self.truth.device_of(who),
            which => self.truth.outgoing_of(who, which),
        }
    }

    /// A token: as it is of a session, one of those that there are of a device.
    fn token_of(&self, at: usize, number: u8) -> u64 {
        let session = &self.truth.outgoing[at];
        match session.label {
            Some(_) => number.into(),
            None => {
                let tokens = session.files.iter().map(|file| file.token);
                pick(tokens, number).unwrap_or(number.into())
            }
        }
    }

    pub(super) fn preserve(&mut self, mine: Mine, what: What) {
        let Some(at) = self.truth.outgoing_of(mine.who.0.into(), mine.session.0) else {
            return;
        };
        let (id, token) = (self.truth.outgoing[at].id, mine.token.0.into());
        let answer = self.whole(|host| {
            ops::preserve_file(
                host,
                Actor::Administrator,
                id,
                token,
                || Ok(self.file(what)),
            )
        });
        let (object, kind) = (what.object.0.into(), what.kind.0);
        let known = &self.truth.outgoing[at].files;
        let has_token = known.iter().any(|file| file.token == token);
        match answer {
            Ok(()) => {
                assert!(!self.truth.sealed && !has_token && kind < 2);
                self.note_file(at, token, what);
            }
            Err(Error::TokenExists) => assert!(has_token),
            Err(Error::NoHandler) if kind == 2 => {}
            Err(Error::AlreadyPreserved) => assert!(self.truth.is_taken(object)),
            Err(why) => self.excuse(&why),
        }
    }

    fn note_file(&mut self, at: usize, token: u64, what: What) {
        let late = !self.is_open();
        self.truth.outgoing[at].files.push(File {
            token,
            object: what.object.0.into(),
            kind: what.kind.0.into(),
            access: access(what.access.0),
            needs: Vec::new(),
            restored: false,
            late,
        });
        self.reached.preserved += 1;
    }

    /// The session of a client's device, made if there is none.
    fn make_device(&mut self, who: usize) -> Option<usize> {
        if let Some(at) = self.truth.device_of(who) {
            return Some(at);
        }
        match self.whole(ops::create_device_session) {
            Ok(id) => {
                self.truth.outgoing.push(Outgoing {
                    id,
                    label: None,
                    owner: Some(who),
                    files: Vec::new(),
                    frozen: false,
                    late: false,
                });
                self.truth.device_of(who)
            }
            Err(why) => {
                self.excuse(&why);
                None
            }
        }
    }

    pub(super) fn register(&mut self, who: usize, what: What) {
        let Some(at) = self.make_device(who) else {
            return;
        };
        let id = self.truth.outgoing[at].id;
        let answer =
            self.whole(|host| ops::register_file(host, id, |_| Ok(()), || Ok(self.file(what))));
        match answer {
            Ok(token) => {
                assert!(self.is_open() && what.kind.0 < 2);
                assert!(self.given.insert(token), "a token twice: {token:#x}");
                self.note_file(at, token, what);
            }
            Err(Error::NoHandler) if what.kind.0 == 2 => {}
            Err(Error::AlreadyPreserved) => {
                assert!(self.truth.is_taken(what.object.0.into()));
            }
            Err(why) => self.excuse(&why),
        }
    }

    pub(super) fn unpreserve(&mut self, mine: Mine) {
        let Some(at) = self.session_of(mine) else {
            return;
        };
        let (id, token) = (self.truth.outgoing[at].id, self.token_of(at, mine.token.0));
        let answer = self.whole(|host| ops::unpreserve_file(host, id, token));
        let files = &mut self.truth.outgoing[at].files;
        let known = files.iter().position(|file| file.token == token);
        match answer {
            Ok(()) => {
                let file = files.remove(known.expect("a file that was there"));
                assert!(self.is_open() || (file.late && !self.truth.sealed));
            }
            Err(Error::NoToken) => assert!(known.is_none()),
            Err(why) => self.excuse(&why),
        }
    }

    pub(super) fn freeze_session(&mut self, who: usize, which: u8) {
        let Some(at) = self.truth.outgoing_of(who, which) else {
            return;
        };
        let id = self.truth.outgoing[at].id;
        let files = |world: &Self| world.host().visible();
        let before = files(self);
        let answer = ops::freeze_session(self.host(), id);
        assert_eq!(files(self), before);
        let session = &mut self.truth.outgoing[at];
        match answer {
            Ok(()) => {
                assert!(!session.frozen && !self.truth.sealed);
                session.frozen = true;
                self.reached.frozen += 1;
            }
            Err(Error::SessionFrozen) => assert!(session.frozen),
            Err(Error::Veto { .. }) => assert!(self.is_troubled()),
            Err(Error::Misses { token, .. }) => {
                assert!(
                    self.its_needs(at, token)
                        .is_some_and(|needs| !needs.is_empty())
                );
            }
            Err(Error::NeededFirst { by, .. }) => {
                let named = |other: &Outgoing| {
                    let info = |id| self.host().engine(|engine| engine.session_info(id));
                    info(other.id).is_some_and(|(name, _)| name == by.session)
                };
                let other = self.truth.outgoing.iter().find(|other| named(other));
                assert!(other.is_some_and(|other| !other.frozen));
            }
            Err(why) => self.excuse(&why),
        }
    }

    /// What is needed, as the engine takes it and as it is listed.
    fn needed(&self, at: usize, on: Where) -> (Needed, (bool, String, u64)) {
        match on {
            Where::Here(token) => {
                let token = self.token_of(at, token.0);
                let listed = match self.truth.outgoing[at].label {
                    Some(label) => (false, text(label), token),
                    None => (true, String::new(), token),
                };
                (Needed::Here(token), listed)
            }
            Where::In(label, token) => {
                let token = token.0.into();
                let on = Needed::In(session_name(label.0), token);
                (on, (false, text(label.0), token))
            }
            Where::OnDevice(which) => {
                let devices = self.truth.outgoing.iter().filter(|s| s.label.is_none());
                let tokens = devices.flat_map(|s| s.files.iter().map(|file| file.token));
                let token = pick(tokens, which.0).unwrap_or(1);
                (Needed::OnDevice(token), (true, String::new(), token))
            }
        }
    }

    fn its_needs(&mut self, at: usize, token: u64) -> Option<&mut Vec<(bool, String, u64)>> {
        let files = &mut self.truth.outgoing[at].files;
        let file = files.iter_mut().find(|file| file.token == token)?;
        Some(&mut file.needs)
    }

    pub(super) fn depend(&mut self, mine: Mine, on: Where) {
        let Some(at) = self.session_of(mine) else {
            return;
        };
        let (id, token) = (self.truth.outgoing[at].id, self.token_of(at, mine.token.0));
        let (needed, listed) = self.needed(at, on);
        let answer = self.whole(|host| {
            ops::add_dependency(host, luo_core::Actor::Administrator, id, token, needed)
        });
        match answer {
            Ok(()) => {
                let needs = self.its_needs(at, token).expect("a file that was there");
                needs.push(listed);
            }
            Err(Error::DependencyCycle) => {}
            Err(Error::DependencyExists) => {
                let needs = self.its_needs(at, token).expect("a file that was there");
                assert!(needs.contains(&listed));
            }
            Err(Error::NoToken | Error::NoSession) => {}
            Err(why) => self.excuse(&why),
        }
    }

    pub(super) fn undepend(&mut self, mine: Mine, on: Where) {
        let Some(at) = self.session_of(mine) else {
            return;
        };
        let (id, token) = (self.truth.outgoing[at].id, self.token_of(at, mine.token.0));
        let (needed, listed) = self.needed(at, on);
        let answer = self.whole(|host| {
            ops::drop_dependency(host, luo_core::Actor::Administrator, id, token, needed)
        });
        match answer {
            Ok(()) => {
                let needs = self.its_needs(at, token).expect("a file that was there");
                let known = needs.iter().position(|need| *need == listed);
                needs.remove(known.expect("a dependency that was there"));
            }
            Err(Error::NoDependency | Error::NoToken | Error::NoSession) => {}
            Err(why) => self.excuse(&why),
        }
    }

    /// Closes a session that a client has, of either direction.
    pub(super) fn close(&mut self, who: usize, which: u8) {
        if let Some(at) = self.truth.outgoing_of(who, which) {
            self.close_outgoing(at);
        } else if let Some(at) = self.truth.incoming_of(who, which) {
            self.close_incoming(at);
        }
    }

    /// Nobody can refuse.
    pub(super) fn close_outgoing(&mut self, at: usize) {
        let id: SessionId = self.truth.outgoing[at].id;
        let closed = ops::close_session(self.host(), id);
        assert_eq!(closed, Ok(()), "an outgoing session");
        let late = self.truth.outgoing[at].late && !self.truth.sealed;
        if self.is_open() || late {
            self.truth.outgoing.remove(at);
        } else {
            // It is kept, and goes when the update is cancelled.
            self.truth.outgoing[at].owner = None;
        }
    }
}
