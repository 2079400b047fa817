// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine, its clients, and what is known of it.

use std::collections::BTreeSet;

use luo_abi::contract::{FILE_FROZEN, FILE_PRESERVED, FILE_REGISTERED, FileInfo, LIST_OUTGOING};
use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::mem::fault;
use luo_core::ops;
use luo_core::{Direction, Error, Failure, SessionName};
use luo_testhost::build::Visible;
use luo_testhost::{Call, TestHost, name};
use zerocopy::IntoBytes;

use super::op::{Op, Trouble};
use super::reached::Reached;
use super::truth::{Incoming, Truth, text};
use crate::queries;

/// What callbacks that fail say.
pub(super) const SAID: Errno = Errno::EFBIG;

pub(super) struct World {
    /// `None` for the moment of the jump only.
    pub(super) host: Option<TestHost>,
    pub(super) truth: Truth,
    /// Fails during the next call.
    trouble: Option<Trouble>,
    /// Tokens of devices that were given in any kernel.
    pub(super) given: BTreeSet<u64>,
    pub(super) reached: Reached,
}

/// All that can be seen from outside.
#[derive(Debug, PartialEq)]
struct Snapshot {
    visible: Visible,
    /// Entries of lists, as bytes.
    entries: Vec<u8>,
}

/// The participants of each kernel.
fn register(host: &TestHost) {
    host.depend(0, 1).expect("an FLB");
    for number in 1..3 {
        host.subsystem(number).expect("a subsystem");
    }
}

impl World {
    pub(super) fn new() -> Self {
        let host = TestHost::cold();
        register(&host);
        Self {
            host: Some(host),
            truth: Truth {
                opened: true,
                ..Truth::default()
            },
            trouble: None,
            given: BTreeSet::new(),
            reached: Reached::default(),
        }
    }

    pub(super) fn host(&self) -> &TestHost {
        self.host.as_ref().expect("a machine")
    }

    pub(super) fn state(&self) -> State {
        self.host().state()
    }

    /// Whether what is preserved can be changed.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state(), State::Normal | State::Updated)
    }

    /// Whether something fails during this call.
    pub(super) fn is_troubled(&self) -> bool {
        self.trouble.is_some()
    }

    pub(super) fn step(&mut self, op: Op) {
        crate::show::show(format_args!("{}: {op:?}", self.state()));
        if self.is_open() {
            self.truth.rested = Some(self.state());
        }
        if let Op::Trouble(trouble) = op {
            // Files of a handler that goes away while they are read wait for it, of which the
            // truth knows nothing.
            let goes = matches!(trouble, Trouble::Callback(Call::PinHandler, _));
            self.trouble = Some(trouble).filter(|_| self.truth.opened || !goes);
            return;
        }
        match self.trouble {
            Some(Trouble::Callback(call, skip)) => self.host().fail(call, skip.into(), SAID),
            Some(Trouble::Memory(after)) => fault::fail_after(after.into()),
            None => {}
        }
        self.apply(op);
        fault::disarm();
        self.host().script().relent();
        self.trouble = None;
        self.compare();
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Trouble(_) => {}
            Op::Create(who, label) => self.create(who.0.into(), label.0),
            Op::Preserve(mine, what) => self.preserve(mine, what),
            Op::Unpreserve(mine) => self.unpreserve(mine),
            Op::Register(who, what) => self.register(who.0.into(), what),
            Op::Depend(mine, on) => self.depend(mine, on),
            Op::Undepend(mine, on) => self.undepend(mine, on),
            Op::FreezeSession(who, which) => self.freeze_session(who.0.into(), which.0),
            Op::Close(who, which) => self.close(who.0.into(), which.0),
            Op::CloseDevice(who) => {
                if let Some(at) = self.truth.device_of(who.0.into()) {
                    self.close_outgoing(at);
                }
            }
            Op::Die(who) => self.die(who.0.into()),
            Op::Prepare => self.event(ops::prepare),
            Op::Freeze => self.event(ops::freeze),
            Op::Cancel => self.event(|host| ops::cancel(host).map_err(Into::into)),
            Op::Reboot(discard) => self.reboot(discard),
            Op::Kexec => self.kexec(),
            Op::Open => self.open(),
            Op::Claim(who, label, answered) => self.claim(who.0.into(), label.0, answered),
            Op::Retrieve(mine) => self.retrieve(mine),
            Op::Restore(token, answered) => self.restore(token.0, answered),
            Op::Finish(who, which) => self.finish(who.0.into(), which.0),
            Op::FinishUpdate => self.finish_update(),
            Op::Stick(object) => {
                let object = object.0.into();
                let stuck = &mut self.host().script().stuck;
                if !stuck.remove(&object) {
                    stuck.insert(object);
                }
            }
            Op::GetOutgoing => {
                self.truth.flb_out += usize::from(self.host().get_outgoing(1).is_ok());
            }
            Op::PutOutgoing if self.truth.flb_out > 0 => {
                self.host().put_outgoing(1);
                self.truth.flb_out -= 1;
            }
            Op::GetIncoming => {
                self.truth.flb_in += usize::from(self.host().get_incoming(1).is_ok());
            }
            Op::PutIncoming if self.truth.flb_in > 0 => {
                self.host().put_incoming(1);
                self.truth.flb_in -= 1;
            }
            Op::PutOutgoing | Op::PutIncoming => {}
        }
    }

    /// Calls what changes all or nothing.
    pub(super) fn whole<T, E>(&self, call: impl FnOnce(&TestHost) -> Result<T, E>) -> Result<T, E> {
        let armed = self
            .trouble
            .filter(|trouble| matches!(trouble, Trouble::Memory(_)));
        // Looking takes memory, too.
        fault::disarm();
        let before = self.snapshot();
        if let Some(Trouble::Memory(after)) = armed {
            fault::fail_after(after.into());
        }
        let answer = call(self.host());
        fault::disarm();
        if answer.is_err() {
            assert_eq!(self.snapshot(), before, "what failed has changed something");
        }
        answer
    }

    fn event<T>(&mut self, event: impl FnOnce(&TestHost) -> Result<T, Failure>) {
        let before = self.state();
        let answer = match before {
            // A freeze that fails cancels what was prepared.
            State::Prepared => event(self.host()),
            _ => self.whole(event),
        };
        self.reached.vetoes += u32::from(answer.is_err());
        if self.is_open() {
            if matches!(before, State::Prepared | State::Frozen) {
                self.truth.thaw();
            }
            self.truth.settle();
        }
    }

    fn reboot(&mut self, discard: bool) {
        let before = self.state();
        self.truth.tainted |= self.is_troubled();
        let answer = if discard {
            self.host().freeze()
        } else {
            self.host().reboot()
        };
        let after = self.state();
        match answer {
            Ok(report) => {
                assert_eq!(after, State::Frozen);
                self.truth.seal();
                self.truth.opened |= !report.losses.unread;
                self.reached.carried += report.carried as u32;
                if before == State::Updated && !discard {
                    let unclaimed = self.truth.incoming.iter();
                    let unclaimed = unclaimed.filter(|session| session.is_unclaimed());
                    let unclaimed: Vec<_> = unclaimed.collect();
                    assert!(
                        unclaimed.len() <= report.carried + report.superseded,
                        "one is not carried on: {unclaimed:?} {report:?}"
                    );
                }
                if discard && before != State::Frozen {
                    // Whatever could not be carried on is lost.
                    for session in &mut self.truth.incoming {
                        session.released = true;
                    }
                }
            }
            Err(_) => {
                // It rests where it did: UPDATED ends with what has arrived, and what of that
                // an earlier reboot did not carry on is there again.
                let rests = match before {
                    State::Prepared | State::Frozen => {
                        after == State::Normal || Some(after) == self.truth.rested
                    }
                    other => after == other,
                };
                assert!(rests, "{before:?} has become {after:?}");
                self.truth.thaw();
                self.reached.vetoes += 1;
            }
        }
        if self.is_open() {
            self.truth.settle();
        }
    }

    fn kexec(&mut self) {
        // The event alone has written nothing.
        if !self.truth.sealed {
            return;
        }
        fault::disarm();
        // What came from the kernel before and is not carried on, ends here.
        let names = |host: &TestHost| {
            let all = queries::sessions(host, LIST_OUTGOING);
            let names = all
                .iter()
                .map(|session| queries::text(&session.name).to_owned());
            names.collect::<BTreeSet<String>>()
        };
        let goes = names(self.host());
        let old = std::mem::take(&mut self.truth);
        let outgoing = old.outgoing.into_iter().map(Incoming::of);
        let mut next: Vec<Incoming> = outgoing.collect();
        for session in old.incoming {
            let goes_on = match session.label {
                Some(label) => {
                    let new = next.iter().any(|other| other.label == Some(label));
                    goes.contains(&text(label)) && !new
                }
                None => session.held.is_none(),
            };
            if goes_on {
                // One that was let go may go on with those who need it.
                let held = None;
                next.push(Incoming { held, ..session });
            }
        }
        // What was got of a device is its owner's and stays behind.
        for session in &mut next {
            session.files.retain(|file| !file.restored);
        }
        next.retain(|session| session.label.is_some() || !session.files.is_empty());
        self.truth.incoming = next;
        self.truth.tainted = old.tainted;
        let handed = self.host.take().expect("a machine").kexec();
        let host = TestHost::warm(handed);
        register(&host);
        self.host = Some(host);
        self.reached.kexecs += 1;
    }

    fn open(&mut self) {
        self.truth.tainted |= self.is_troubled();
        match self.host().open() {
            Ok(_) => self.truth.opened = true,
            Err(why) => assert!(self.is_troubled(), "{why}"),
        }
    }

    pub(super) fn die(&mut self, who: usize) {
        while let Some(at) = self.truth.outgoing_of(who, 0) {
            self.close_outgoing(at);
        }
        if let Some(at) = self.truth.device_of(who) {
            self.close_outgoing(at);
        }
        while let Some(at) = self.truth.incoming_of(who, 0) {
            self.close_incoming(at);
        }
    }

    fn snapshot(&self) -> Snapshot {
        let host = self.host();
        let mut entries = Vec::new();
        for session in queries::sessions(host, 0) {
            entries.extend_from_slice(session.as_bytes());
        }
        let out = self.truth.outgoing.iter().map(|session| session.id);
        let held = self.truth.incoming.iter();
        let held = held.filter_map(|session| session.held.map(|(_, id)| id));
        for id in out.chain(held) {
            for file in queries::files(host, id) {
                entries.extend_from_slice(file.as_bytes());
                for on in queries::dependencies(host, id, file.token) {
                    entries.extend_from_slice(on.as_bytes());
                }
            }
        }
        Snapshot {
            visible: host.visible(),
            entries,
        }
    }

    /// Compares what is there with what should be.
    fn compare(&self) {
        let host = self.host();
        let state = host.state();
        let mut preserved = 0;
        let mut objects = BTreeSet::new();
        for session in &self.truth.outgoing {
            let info = host.engine(|engine| engine.session_info(session.id));
            let (found, direction) = info.expect("an outgoing session");
            assert_eq!(direction, Direction::Outgoing);
            if let Some(label) = session.label {
                assert_eq!(found, name(&text(label)));
            }
            let files = queries::files(host, session.id);
            let tokens =
                |files: &[FileInfo]| -> Vec<u64> { files.iter().map(|file| file.token).collect() };
            let known: Vec<u64> = session.files.iter().map(|file| file.token).collect();
            assert_eq!(tokens(&files), known);
            for (file, known) in files.iter().zip(&session.files) {
                let expected = match (state, session.label) {
                    _ if session.frozen => FILE_FROZEN,
                    (State::Frozen, _) if !known.late => FILE_FROZEN,
                    (State::Normal | State::Updated, None) => FILE_REGISTERED,
                    _ => FILE_PRESERVED,
                };
                assert_eq!(file.status, expected);
                preserved += isize::from(expected != FILE_REGISTERED);
                assert!(objects.insert(known.object), "an object twice");
                self.compare_needs(session.id, known);
            }
        }
        let visible = host.visible();
        let carriers = visible.outgoing.checked_sub(self.truth.outgoing.len());
        let carriers = carriers.expect("an outgoing session is gone");
        assert!(
            carriers == 0 || state == State::Frozen,
            "a session too many"
        );
        let counts = visible.counts;
        assert!(counts.privates >= preserved && (carriers > 0 || counts.privates == preserved));
        assert!(counts.files >= objects.len() as isize);
        assert!(counts.files <= visible.files as isize);
        self.compare_incoming();
    }

    pub(super) fn compare_needs(&self, id: luo_core::SessionId, file: &super::truth::File) {
        let needs = queries::dependencies(self.host(), id, file.token);
        let mut needs: Vec<_> = needs
            .iter()
            .map(|on| {
                let session = if on.flags != 0 {
                    String::new()
                } else {
                    queries::text(&on.session).to_owned()
                };
                (on.flags != 0, session, on.token)
            })
            .collect();
        needs.sort_unstable();
        let mut known = file.needs.clone();
        known.sort_unstable();
        assert_eq!(needs, known, "token {}", file.token);
    }

    /// Closes everything; nothing may be left.
    pub(super) fn end(mut self) -> Reached {
        self.trouble = None;
        self.host().script().stuck.clear();
        if !self.is_open() {
            self.step(Op::Cancel);
        }
        self.step(Op::Open);
        self.claim_all();
        while self.truth.flb_out > 0 {
            self.step(Op::PutOutgoing);
        }
        while self.truth.flb_in > 0 {
            self.step(Op::PutIncoming);
        }
        for who in 0..4 {
            self.die(who);
        }
        if self.state() == State::Updated {
            self.finish_update();
        }
        // What could not be finished at its close.
        self.step(Op::Open);
        let visible = self.host().visible();
        assert_eq!(visible.state, State::Normal);
        assert_eq!(
            (visible.outgoing, visible.incoming, visible.files),
            (0, 0, 0)
        );
        let counts = visible.counts;
        assert_eq!((counts.files, counts.pins, counts.privates), (0, 0, 0));
        // The pages of the roots.
        assert_eq!((counts.objects, counts.blocks), (0, 4));
        self.reached
    }
}

/// A name as the engine has it.
pub(super) fn session_name(label: u8) -> SessionName {
    name(&text(label))
}

/// Whether an error can come from what was made to fail.
pub(super) fn is_of_trouble(why: &Error) -> bool {
    matches!(
        why,
        Error::NoMemory | Error::Host(_) | Error::OwnerGone | Error::NoHandler
    ) || matches!(why, Error::DependencyFailed { .. })
        || why.errno() == SAID
}
