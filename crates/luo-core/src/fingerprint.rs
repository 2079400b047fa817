// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! A number over all of an engine's state that decides how it goes on: a model checker must tell
//! whether it has been here before.
//!
//! State that no decision depends on is left out: the slots that objects are in, addresses, counts
//! of changes and failures, the last failure, and the order in which a transition goes along
//! files, which follows from the files and their dependencies. Sessions and files are told apart by
//! name and token, in the order of their lists.

use core::hash::Hasher;
use core::mem::discriminant;

use crate::engine::Engine;
use crate::graph::Target;
use crate::handover::block::BlockMemory;
use crate::host::Host;
use crate::id::FileId;
use crate::session::{File, FileWay, Progress, Session, Stage, Way};

/// Hashes a variant without what is in it.
fn kind<T>(value: &T, into: &mut impl Hasher) {
    core::hash::Hash::hash(&discriminant(value), into);
}

fn flags(all: &[bool], into: &mut impl Hasher) {
    for &flag in all {
        into.write_u8(flag.into());
    }
}

impl<H: Host> Engine<H> {
    /// All that decides how the engine goes on, as long as there is memory.
    pub fn fingerprint(&self, into: &mut impl Hasher) {
        kind(&self.state(), into);
        let [updated, sealed, working] = self.update.flags();
        flags(
            &[
                self.update.is_moving(),
                working,
                updated,
                sealed,
                self.retries.of_any,
                self.retries.of_no_user,
            ],
            into,
        );
        kind(&self.handover, into);
        into.write_usize(self.closed_pending);
        into.write_usize(self.under_way.awaited);
        into.write_usize(self.under_way.others);
        self.hash_sessions(
            into,
            |_| true,
            |engine, session, into| {
                into.write_usize(session.busy);
                into.write_usize(shape(session)[0]);
                let mut next = session.files.first;
                while let Some((id, file)) = next.and_then(|id| Some((id, engine.files.get(id)?))) {
                    engine.hash_file(id, file, into);
                    next = file.links.next;
                }
            },
        );
        for (_, handler) in self.handlers.iter() {
            into.write_usize(handler.files);
            into.write_usize(handler.waiting);
            flags(&[handler.is_registered()], into);
        }
        into.write_usize(self.chain.shape()[0]);
        into.write_usize(self.record_chain.shape()[0]);
        into.write_usize(self.records);
        flags(&[self.by_event, self.had_sessions], into);
    }

    /// Adds state that a later step depends on though no answer shows it yet: a walk over
    /// sessions meets orphans and sessions that wait to be finished, and a restored file
    /// meets files of other sessions that it needs.
    pub fn outline(&self, into: &mut impl Hasher) {
        let wanted = |session: &Session<H>| {
            session.orphan
                || session
                    .incoming()
                    .is_some_and(|incoming| incoming.together.is_some())
                || session.is_closed_pending()
        };
        self.hash_sessions(into, wanted, |_, _, _| ());
        for (id, file) in self.files.iter() {
            let elsewhere = |by| {
                let by = self.files.get(by);
                by.is_some_and(|by| by.session != file.session)
            };
            let arrived = file.as_incoming().is_some();
            if arrived && self.graph.dependents(id).any(elsewhere) {
                self.hash_name(Some(id), into);
                hash_stage(file, into);
            }
        }
    }

    /// Whether the root names sessions to the next kernel.
    pub fn hands_over(&mut self) -> bool {
        let root = self.root.as_mut().map(BlockMemory::bytes);
        root.and_then(|bytes| bytes.get(16..24))
            .is_some_and(|address| address.iter().any(|&byte| byte != 0))
    }

    fn hash_sessions<S: Hasher>(
        &self,
        into: &mut S,
        wanted: impl Fn(&Session<H>) -> bool,
        more: impl Fn(&Self, &Session<H>, &mut S),
    ) {
        for first in [
            self.outgoing.first,
            self.incoming.first,
            self.finished.first,
        ] {
            let mut next = first;
            while let Some(session) = next.and_then(|id| self.sessions.get(id)) {
                next = session.links.next;
                if !wanted(session) {
                    continue;
                }
                into.write(session.name.room());
                kind(&session.owner, into);
                flags(&[session.locked, session.orphan], into);
                kind(&session.way, into);
                match &session.way {
                    Way::Outgoing(way) => {
                        let took_part = self.update.took_part(way.made);
                        let carries = way.carries.is_some();
                        flags(&[way.closed, way.undone, carries, took_part], into);
                        kind(&way.early, into);
                    }
                    Way::Incoming(way) => flags(
                        &[
                            way.claimed,
                            way.closed_pending,
                            way.finished,
                            way.together.is_some(),
                            way.left_behind,
                            way.superseded,
                            way.needed,
                        ],
                        into,
                    ),
                }
                more(self, session, into);
            }
            into.write_u8(0xff);
        }
    }

    fn hash_file(&self, id: FileId, file: &File<H>, into: &mut impl Hasher) {
        into.write_u64(file.token);
        into.write_u64(file.data);
        into.write_u64(file.object.unwrap_or_default());
        flags(&[file.handler.is_some(), file.object.is_some()], into);
        match &file.way {
            FileWay::Outgoing(way) => {
                let took_part = way.made.is_some_and(|made| self.update.took_part(made));
                flags(
                    &[
                        way.registered,
                        way.frozen,
                        way.veto.is_some(),
                        took_part,
                        way.lost.is_some(),
                    ],
                    into,
                );
            }
            FileWay::Incoming(way) => flags(
                &[
                    way.lost.is_some(),
                    way.lent_object.is_some(),
                    way.handed,
                    way.asked_for,
                    way.awaits_handler,
                ],
                into,
            ),
        }
        hash_stage(file, into);
        for (_, target) in self.graph.dependencies(id) {
            match target {
                Target::File(on) => self.hash_name(Some(on), into),
                Target::Gone(name) => into.write_u64(name.token),
            }
        }
        into.write_u8(0xfe);
    }

    fn hash_name(&self, id: Option<FileId>, into: &mut impl Hasher) {
        match id.and_then(|id| self.file_name(id)) {
            Some(name) => {
                into.write(name.session.room());
                into.write_u64(name.token);
            }
            None => into.write_u8(0),
        }
    }

    /// How much room there is until memory is asked for the next time: where that can
    /// fail, it decides as well.
    pub fn rooms(&self, into: &mut impl Hasher) {
        for first in [
            self.outgoing.first,
            self.incoming.first,
            self.finished.first,
        ] {
            let mut next = first;
            while let Some(session) = next.and_then(|id| self.sessions.get(id)) {
                into.write_usize(shape(session)[1]);
                next = session.links.next;
            }
        }
        let rooms = [
            self.sessions.shape(),
            self.files.shape(),
            self.chain.shape(),
            self.record_chain.shape(),
            self.names.shape(),
            self.tokens.shape(),
            self.objects.shape(),
            self.device_tokens.shape(),
        ];
        for word in rooms.iter().chain(&self.graph.shape()).flatten() {
            into.write_usize(*word);
        }
    }
}

fn hash_stage<H: Host>(file: &File<H>, into: &mut impl Hasher) {
    kind(&file.way, into);
    match &file.way {
        FileWay::Outgoing(file) => {
            kind(&file.stage, into);
            match &file.stage {
                Stage::Reserved => {}
                Stage::Registered(source) => flags(&[source.is_some()], into),
                Stage::Preserved(live) => flags(&[live.is_some()], into),
            }
        }
        FileWay::Incoming(file) => {
            flags(&[file.arrived.is_some()], into);
            if let Some(arrived) = &file.arrived {
                kind(&arrived.progress, into);
                if let Progress::Failed(errno) = &arrived.progress {
                    into.write_i32(errno.get());
                }
            }
        }
    }
}

/// How many pages a session's records have, and how many records there is room for.
fn shape<H: Host>(session: &Session<H>) -> [usize; 2] {
    session
        .outgoing()
        .map_or([0; 2], |outgoing| outgoing.chain.shape())
}
