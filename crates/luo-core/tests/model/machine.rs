// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The model: what a machine should do, with no thought of how.

use std::collections::BTreeSet;

use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::Retrieval;

use super::Fault;

/// A file of a session: token, object, kind.
pub type File = (u64, u64, u32);

/// What an operation should answer.
pub type Expected = Result<(), Errno>;

#[derive(Clone, Debug)]
pub struct Outgoing {
    pub label: u8,
    pub files: Vec<File>,
    pub orphan: bool,
    /// Carries an incoming session of the same name on.
    pub carrier: bool,
    /// Tokens of files that could not be carried on.
    pub lost: Vec<u64>,
}

#[derive(Clone, Debug)]
pub struct Arrived {
    pub file: File,
    pub retrieval: Retrieval,
    /// Its handler was not there when it came, and it has not got it since.
    pub waits: bool,
}

#[derive(Clone, Debug)]
pub struct Incoming {
    pub label: u8,
    pub files: Vec<Arrived>,
    pub claimed: bool,
    /// Was closed and could not be finished, and before how many others.
    pub pending: bool,
    pub closed_at: usize,
    pub orphan: bool,
    pub finished: bool,
    /// Tokens of files that the previous kernel could not hand over.
    pub lost: Vec<u64>,
}

impl Incoming {
    fn is_carried(&self) -> bool {
        !self.claimed && !self.pending && !self.finished
    }
}

/// The FLB that files of kind 0 depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flb {
    Waiting,
    Live,
    Failed,
    Finished,
}

#[derive(Default)]
pub struct Machine {
    /// Which of the kinds 0 and 1 have no handler.
    pub unregistered: [bool; 2],
    pub warm: bool,
    pub opened: bool,
    pub frozen: bool,
    /// The previous kernel handed over and not all of it is finished.
    pub updated: bool,
    /// It handed sessions over.
    pub had_sessions: bool,
    pub outgoing: Vec<Outgoing>,
    pub incoming: Vec<Incoming>,
    pub stuck: BTreeSet<u64>,
    /// Objects that count as preserved, and by whom: incoming or not, label,
    /// token.
    pub objects: Vec<(u64, (bool, u8, u64))>,
    pub flb_out_live: bool,
    pub flb_out_holders: usize,
    /// Files, holders and state of the FLB that arrived.
    pub flb_in: Option<(usize, usize, Flb)>,
    /// Sessions that were closed and could not be finished.
    pub closings: usize,
    pub log: Vec<String>,
}

impl Machine {
    pub fn files_out(&self) -> impl Iterator<Item = &File> {
        self.outgoing.iter().flat_map(|session| &session.files)
    }

    pub fn dependants(&self) -> usize {
        self.files_out().filter(|(_, _, kind)| *kind == 0).count()
    }

    pub fn has_handler(&self, kind: u32) -> bool {
        self.unregistered.get(kind as usize) == Some(&false)
    }

    /// Files that wait for the handler of a kind.
    pub fn waiting(&self, kind: u32) -> usize {
        let files = self.incoming.iter().flat_map(|session| &session.files);
        files.filter(|f| f.waits && f.file.2 == kind).count()
    }

    pub fn state(&self) -> State {
        match (self.frozen, self.updated) {
            (true, _) => State::Frozen,
            (false, true) => State::Updated,
            (false, false) => State::Normal,
        }
    }

    /// The update is over with its last session.
    fn settle_update(&mut self) {
        if self.opened && self.had_sessions && self.incoming.iter().all(|s| s.finished) {
            self.updated = false;
        }
    }

    fn log(&mut self, what: &str, object: u64) {
        self.log.push(format!("{what} {object}"));
    }

    pub fn create(&mut self, label: u8) -> Expected {
        if self.frozen {
            return Err(Errno::EBUSY);
        }
        if self.outgoing.iter().any(|session| session.label == label) {
            return Err(Errno::EEXIST);
        }
        self.outgoing.push(Outgoing {
            label,
            files: Vec::new(),
            orphan: false,
            carrier: false,
            lost: Vec::new(),
        });
        Ok(())
    }

    pub fn preserve(&mut self, at: usize, file: File, fault: Option<Fault>) -> Expected {
        let (token, object, kind) = file;
        if self.frozen {
            return Err(Errno::EBUSY);
        }
        let session = &self.outgoing[at];
        let owner = (false, session.label, token);
        if session.files.iter().any(|file| file.0 == token) {
            return Err(Errno::EEXIST);
        }
        if matches!(fault, Some(Fault::Open)) {
            return Err(Errno::EBADF);
        }
        if !self.has_handler(kind) {
            return Err(Errno::ENOENT);
        }
        if self.objects.iter().any(|(taken, _)| *taken == object) {
            return Err(Errno::EBUSY);
        }
        let first = kind == 0 && !self.flb_out_live;
        if first {
            self.log("flb_preserve", 1);
            if matches!(fault, Some(Fault::Flb)) {
                return Err(Errno::EPERM);
            }
            self.flb_out_live = true;
        }
        self.log("preserve", object);
        if matches!(fault, Some(Fault::Handler)) {
            self.settle_outgoing_flb();
            return Err(Errno::EFBIG);
        }
        self.objects.push((object, owner));
        self.outgoing[at].files.push(file);
        Ok(())
    }

    pub fn settle_outgoing_flb(&mut self) {
        if self.flb_out_live && self.dependants() == 0 && self.flb_out_holders == 0 {
            self.flb_out_live = false;
            self.log("flb_unpreserve", 1);
        }
    }

    fn forget(&mut self, owner: (bool, u8, u64)) {
        self.objects.retain(|(_, by)| *by != owner);
    }

    pub fn close_outgoing(&mut self, at: usize) {
        if self.frozen {
            self.outgoing[at].orphan = true;
            return;
        }
        let label = self.outgoing[at].label;
        while let Some((token, object, _)) = self.outgoing[at].files.pop() {
            self.log("unpreserve", object);
            self.settle_outgoing_flb();
            self.forget((false, label, token));
        }
        self.outgoing.remove(at);
    }

    pub fn retrieve(&mut self, at: usize, token: u64, fail: bool) -> Expected {
        if self.frozen {
            return Err(Errno::EBUSY);
        }
        let label = self.incoming[at].label;
        if self.incoming[at].lost.contains(&token) {
            return Err(Errno::ENOTRECOVERABLE);
        }
        let unregistered = self.unregistered;
        let mut files = self.incoming[at].files.iter_mut();
        let Some(found) = files.find(|f| f.file.0 == token) else {
            return Err(Errno::ENOENT);
        };
        let (_, object, kind) = found.file;
        if found.waits && unregistered[kind as usize] {
            return Err(Errno::EAGAIN);
        }
        found.waits = false;
        match found.retrieval {
            Retrieval::Done => return Ok(()),
            Retrieval::Failed(errno) => return Err(errno),
            Retrieval::None if fail => found.retrieval = Retrieval::Failed(Errno::EFBIG),
            Retrieval::None => found.retrieval = Retrieval::Done,
        }
        self.log("retrieve", object);
        if fail {
            return Err(Errno::EFBIG);
        }
        if !self.objects.iter().any(|(taken, _)| *taken == object) {
            self.objects.push((object, (true, label, token)));
        }
        Ok(())
    }

    pub fn finish(&mut self, at: usize) -> Expected {
        let outcome = self.finish_files(at);
        self.incoming[at].finished |= outcome.is_ok();
        self.settle_update();
        outcome
    }

    /// Finishes the files of a session, if all can be.
    fn finish_files(&mut self, at: usize) -> Expected {
        if self.frozen {
            return Err(Errno::EBUSY);
        }
        let label = self.incoming[at].label;
        let files: Vec<File> = self.incoming[at].files.iter().map(|f| f.file).collect();
        for (place, &(_, object, kind)) in files.iter().enumerate() {
            let asked = &mut self.incoming[at].files[place];
            if asked.waits && self.unregistered[kind as usize] {
                return Err(Errno::EBUSY);
            }
            asked.waits = false;
            self.log("can_finish", object);
            if self.stuck.contains(&object) {
                return Err(Errno::EBUSY);
            }
        }
        for &(token, object, kind) in files.iter().rev() {
            self.log("finish", object);
            if let (0, Some((files, _, _))) = (kind, &mut self.flb_in) {
                *files -= 1;
                self.settle_incoming_flb();
            }
            self.forget((true, label, token));
        }
        self.incoming[at].files.clear();
        self.incoming[at].lost.clear();
        Ok(())
    }

    pub fn close_incoming(&mut self, at: usize) -> Expected {
        if self.frozen {
            self.incoming[at].orphan = true;
            return Ok(());
        }
        let outcome = self.finish_files(at);
        if outcome.is_ok() {
            self.incoming.remove(at);
        } else {
            let session = &mut self.incoming[at];
            session.claimed = false;
            if !std::mem::replace(&mut session.pending, true) {
                session.closed_at = self.closings;
                self.closings += 1;
            }
        }
        self.settle_update();
        outcome
    }

    pub fn settle_incoming_flb(&mut self) {
        let Some((0, 0, state)) = self.flb_in else {
            return;
        };
        if state == Flb::Waiting {
            self.log("flb_retrieve", 1);
        }
        if matches!(state, Flb::Waiting | Flb::Live) {
            self.log("flb_finish", 1);
            self.flb_in = Some((0, 0, Flb::Finished));
        }
    }

    /// Answers the veto's errno, if there is one.
    pub fn freeze(&mut self, veto: Option<usize>) -> Expected {
        let again = self.frozen;
        if again {
            self.thaw();
        } else {
            self.take_over();
            self.carry();
        }
        let objects: Vec<u64> = self.files_out().map(|file| file.1).collect();
        for (at, &object) in objects.iter().enumerate() {
            self.log("freeze", object);
            if veto == Some(at) {
                for &object in objects[..at].iter().rev() {
                    self.log("unfreeze", object);
                }
                self.uncarry();
                if again {
                    self.frozen = false;
                    self.close_orphans();
                }
                return Err(Errno::EPERM);
            }
        }
        self.frozen = true;
        Ok(())
    }

    /// Whether a new session takes the place of an incoming one that nobody has claimed.
    pub fn is_superseded(&self, session: &Incoming) -> bool {
        let mut new = self.outgoing.iter().filter(|s| !s.carrier);
        session.is_carried() && new.any(|s| s.label == session.label)
    }

    /// Carries on what nobody has claimed. A file that cannot be is lost alone.
    fn carry(&mut self) {
        let carried = |s: &&Incoming| s.is_carried() && !self.is_superseded(s);
        let labels: Vec<u8> = self
            .incoming
            .iter()
            .filter(carried)
            .map(|s| s.label)
            .collect();
        let first = self.outgoing.len();
        for &label in &labels {
            self.create(label).unwrap();
            self.outgoing.last_mut().unwrap().carrier = true;
        }
        for (at, &label) in labels.iter().enumerate() {
            let from = self.incoming.iter().position(|s| s.label == label).unwrap();
            self.outgoing[first + at].lost = self.incoming[from].lost.clone();
            for Arrived { file, .. } in self.incoming[from].files.clone() {
                let (token, object, kind) = file;
                let mine = (object, (true, label, token));
                let restored = self.retrieve(from, token, false).is_ok();
                let known = self.objects.iter().position(|entry| *entry == mine);
                let Some(known) = known.filter(|_| restored) else {
                    self.outgoing[first + at].lost.push(token);
                    continue;
                };
                self.objects.remove(known);
                // By the handler that has restored it, registered or not.
                let gone = std::mem::take(&mut self.unregistered[kind as usize]);
                self.preserve(first + at, file, None).unwrap();
                self.unregistered[kind as usize] = gone;
            }
        }
    }

    pub fn carries(&self, label: u8) -> bool {
        self.outgoing.iter().any(|s| s.carrier && s.label == label)
    }

    fn uncarry(&mut self) {
        let first = self.outgoing.iter().position(|s| s.carrier);
        let Some(first) = first else { return };
        for session in (first..self.outgoing.len()).rev() {
            let label = self.outgoing[session].label;
            while let Some((token, object, _)) = self.outgoing[session].files.pop() {
                self.log("unpreserve", object);
                self.settle_outgoing_flb();
                self.forget((false, label, token));
                self.objects.push((object, (true, label, token)));
            }
        }
        self.outgoing.truncate(first);
    }

    pub fn unfreeze(&mut self) {
        if !self.frozen {
            return;
        }
        self.thaw();
        self.frozen = false;
        self.uncarry();
        self.close_orphans();
    }

    fn thaw(&mut self) {
        let objects: Vec<u64> = self.files_out().map(|file| file.1).collect();
        for object in objects.into_iter().rev() {
            self.log("unfreeze", object);
        }
    }

    fn close_orphans(&mut self) {
        while let Some(at) = self.outgoing.iter().position(|s| s.orphan) {
            self.close_outgoing(at);
        }
        while let Some(at) = self.incoming.iter().position(|s| s.orphan) {
            self.incoming[at].orphan = false;
            let _ = self.close_incoming(at);
        }
    }

    /// The machine that boots from this one, without the handler of a kind.
    pub fn kexec(&mut self, without: Option<u32>) -> Self {
        let unregistered = [0, 1].map(|kind| without == Some(kind));
        let dependants = self.dependants();
        let arrive = |session: Outgoing| Incoming {
            label: session.label,
            files: session
                .files
                .iter()
                .map(|&file| Arrived {
                    file,
                    retrieval: Retrieval::None,
                    waits: false,
                })
                .collect(),
            claimed: false,
            pending: false,
            closed_at: 0,
            orphan: false,
            finished: false,
            lost: session.lost,
        };
        let had_sessions = !self.outgoing.is_empty();
        Self {
            unregistered,
            warm: true,
            updated: had_sessions || dependants > 0,
            had_sessions,
            incoming: self.outgoing.drain(..).map(arrive).collect(),
            flb_in: (dependants > 0).then_some((dependants, 0, Flb::Waiting)),
            ..Self::default()
        }
    }

    /// What the previous kernel left is read, once: files whose handler is not there wait.
    fn take_over(&mut self) {
        let first = !std::mem::replace(&mut self.opened, true);
        let files = self.incoming.iter_mut().flat_map(|s| &mut s.files);
        for found in files.filter(|_| first) {
            found.waits = self.unregistered[found.file.2 as usize];
        }
    }

    /// Answers how many closed sessions are unfinished still.
    pub fn open(&mut self) -> usize {
        self.take_over();
        let mut unfinished = 0;
        // In the order in which they were closed.
        let waits = self.incoming.iter().filter(|s| s.pending && !s.claimed);
        let mut waits: Vec<_> = waits.map(|s| (s.closed_at, s.label)).collect();
        waits.sort_unstable();
        for (_, label) in waits {
            let at = self.incoming.iter().position(|s| s.label == label).unwrap();
            if self.frozen || self.close_incoming(at).is_err() {
                unfinished += 1;
            }
        }
        self.settle_update();
        unfinished
    }
}
