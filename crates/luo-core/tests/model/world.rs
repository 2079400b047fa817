// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! A machine and its model, side by side.

use luo_core::{Actor, Direction, Error, Retrieval, SessionId};

use super::machine::Flb;
use super::{name, ops, Call, Errno, Expected, Fault, Incoming, Machine, Op, TestHost};
use crate::support::build::Visible;
use crate::support::Counts;

pub struct World {
    /// `None` for the moment of the jump only.
    host: Option<TestHost>,
    model: Machine,
    /// Ids of the outgoing sessions, and of those incoming ones that somebody
    /// holds; by label.
    made: Vec<(u8, SessionId)>,
    held: Vec<(u8, SessionId)>,
    updates: u64,
}

fn text(label: u8) -> String {
    format!("session-{label}")
}

fn id(ids: &[(u8, SessionId)], label: u8) -> SessionId {
    ids.iter().find(|(of, _)| *of == label).unwrap().1
}

/// One of the sessions that a client holds: position in the model and label.
fn pick<'a, T>(
    all: &'a [T],
    at: usize,
    label: impl Fn(&'a T) -> Option<u8>,
) -> Option<(usize, u8)> {
    let held: Vec<_> = all
        .iter()
        .enumerate()
        .filter_map(|(at, session)| Some((at, label(session)?)))
        .collect();
    (!held.is_empty()).then(|| held[at % held.len()])
}

impl World {
    pub fn new() -> Self {
        let host = TestHost::cold();
        host.depend(0, 1).unwrap();
        Self {
            host: Some(host),
            model: Machine::default(),
            made: Vec::new(),
            held: Vec::new(),
            updates: 0,
        }
    }

    pub fn updates(&self) -> u64 {
        self.updates
    }

    fn host(&self) -> &TestHost {
        self.host.as_ref().unwrap()
    }

    fn outgoing(&self, at: usize) -> Option<(usize, u8)> {
        let held = |s: &super::machine::Outgoing| (!s.orphan && !s.carrier).then_some(s.label);
        pick(&self.model.outgoing, at, held)
    }

    fn incoming(&self, at: usize) -> Option<(usize, u8)> {
        let held = |s: &Incoming| (s.claimed && !s.orphan).then_some(s.label);
        pick(&self.model.incoming, at, held)
    }

    pub fn step(&mut self, op: &Op) {
        let outcome = self.apply(op);
        if let Some((answer, expected)) = outcome {
            assert_eq!(answer.map_err(|why| why.errno()), expected, "{op:?}");
        }
        self.host().script().relent();
        self.compare(op);
    }

    /// Does it on both sides; `None` if there is nobody to do it.
    fn apply(&mut self, op: &Op) -> Option<(Result<(), Error>, Expected)> {
        match *op {
            Op::Create(label) => {
                let answer = self.host().try_create(&text(label));
                if let Ok(id) = answer {
                    self.made.retain(|(of, _)| *of != label);
                    self.made.push((label, id));
                }
                Some((answer.map(drop), self.model.create(label)))
            }
            Op::Preserve(at, token, object, kind, fault) => {
                let (at, label) = self.outgoing(at)?;
                let answer = self.preserve(id(&self.made, label), (token, object, kind), fault);
                let expected = self.model.preserve(at, (token, object, kind), fault);
                Some((answer, expected))
            }
            Op::CloseOutgoing(at) => {
                let (at, label) = self.outgoing(at)?;
                let answer = self.host().close(id(&self.made, label));
                self.model.close_outgoing(at);
                Some((answer, Ok(())))
            }
            Op::CloseIncoming(at) => {
                let (at, label) = self.incoming(at)?;
                let answer = self.host().close(id(&self.held, label));
                Some((answer, self.model.close_incoming(at)))
            }
            Op::Claim(label) => Some(self.claim(label)),
            Op::PutBack(at) => {
                let (at, label) = self.incoming(at)?;
                ops::put_back_session(self.host(), id(&self.held, label));
                self.model.incoming[at].claimed = false;
                None
            }
            Op::Retrieve(at, token, fail) => {
                let (at, label) = self.incoming(at)?;
                if fail {
                    self.host().fail(Call::Retrieve, 0, Errno::EFBIG);
                }
                let answer = self.host().retrieve(id(&self.held, label), token);
                Some((answer.map(drop), self.model.retrieve(at, token, fail)))
            }
            Op::Finish(at) => {
                let (at, label) = self.incoming(at)?;
                let answer = self.host().finish(id(&self.held, label));
                Some((answer, self.model.finish(at)))
            }
            Op::Stick(object) => {
                if !self.model.stuck.remove(&object) {
                    self.model.stuck.insert(object);
                }
                self.host().script().stuck = self.model.stuck.clone();
                None
            }
            Op::Freeze(veto) => {
                self.freeze(veto);
                None
            }
            Op::Unfreeze => {
                self.host().unfreeze();
                self.model.unfreeze();
                None
            }
            Op::Kexec(without) => {
                self.kexec(without);
                None
            }
            Op::Register(kind) => {
                self.register(kind);
                None
            }
            Op::Unregister => {
                let gone = self.host().unregister(1).is_ok();
                assert_eq!(gone, self.model.has_handler(1));
                self.model.unregistered[1] = true;
                None
            }
            Op::Open => {
                self.open();
                None
            }
            Op::GetOutgoing | Op::PutOutgoing | Op::GetIncoming(_) | Op::PutIncoming => {
                self.flb(op)
            }
        }
    }

    fn preserve(
        &self,
        session: SessionId,
        (token, object, kind): (u64, u64, u32),
        fault: Option<Fault>,
    ) -> Result<(), Error> {
        let host = self.host();
        match fault {
            Some(Fault::Flb) => host.fail(Call::FlbPreserve, 0, Errno::EPERM),
            Some(Fault::Handler) => host.fail(Call::Preserve, 0, Errno::EFBIG),
            _ => {}
        }
        let open = || match fault {
            Some(Fault::Open) => Err(Errno::EBADF),
            _ => Ok(host.new_file(kind, object)),
        };
        ops::preserve_file(host, Actor::Administrator, session, token, open)
    }

    fn claim(&mut self, label: u8) -> (Result<(), Error>, Expected) {
        let answer = ops::retrieve_session(
            self.host(),
            luo_core::Actor::Administrator,
            &name(&text(label)),
        );
        if let Ok(id) = answer {
            self.held.retain(|(of, _)| *of != label);
            self.held.push((label, id));
        }
        let model = &mut self.model;
        let opened = model.opened;
        let found = model
            .incoming
            .iter_mut()
            .find(|s| opened && s.label == label);
        let expected = match found {
            _ if model.frozen => Err(Errno::EBUSY),
            None => Err(Errno::ENOENT),
            Some(session) if session.claimed => Err(Errno::EINVAL),
            Some(session) => {
                session.claimed = true;
                Ok(())
            }
        };
        (answer.map(drop), expected)
    }

    fn freeze(&mut self, veto: Option<usize>) {
        if let Some(at) = veto {
            self.host().fail(Call::Freeze, at, Errno::EPERM);
        }
        let answer = self.host().freeze();
        let expected = self.model.freeze(veto);
        assert_eq!(answer.map(drop).map_err(|why| why.errno()), expected);
        if let Ok(report) = answer {
            let model = &self.model;
            assert_eq!(report.sessions, model.outgoing.len());
            assert_eq!(report.files, model.files_out().count());
            let carried = |s: &Incoming| model.carries(s.label);
            let lost = |s: &&Incoming| !s.finished && !carried(s) && !model.is_superseded(s);
            assert_eq!(report.lost, model.incoming.iter().filter(lost).count());
        }
    }

    fn kexec(&mut self, without: Option<u32>) {
        if !self.model.frozen {
            return;
        }
        let handed = self.host.take().unwrap().kexec();
        let host = TestHost::boot(Some(handed), false);
        let _ = host.admit();
        host.arm();
        self.host = Some(host);
        self.model = self.model.kexec(without);
        for kind in (0..2).filter(|&kind| without != Some(kind)) {
            self.model.unregistered[kind as usize] = true;
            self.register(kind);
        }
        self.made.clear();
        self.held.clear();
        self.updates += 1;
    }

    fn register(&mut self, kind: u32) {
        let known = self.model.has_handler(kind);
        assert_eq!(self.host().try_register(kind).is_err(), known);
        if kind == 0 && !known {
            self.host().depend(0, 1).unwrap();
        }
        self.model.unregistered[kind as usize] = false;
    }

    fn open(&mut self) {
        let fresh = self.model.warm && !self.model.opened;
        let files = self.model.incoming.iter().map(|s| s.files.len()).sum();
        let counts = (self.model.incoming.len(), files);
        let mut told = 0;
        // What else takes over: the end of an update, a reboot.
        let _ = self.host().taken_over();
        let pending =
            ops::catch_up(self.host(), luo_core::Actor::Administrator, |_| told += 1).unwrap();
        assert_eq!(self.host().taken_over(), fresh.then_some(counts));
        assert_eq!(pending, self.model.open());
        assert_eq!(pending, told);
        if fresh {
            assert_eq!(self.host().arrived_pages(), 0);
        }
    }

    fn flb(&mut self, op: &Op) -> Option<(Result<(), Error>, Expected)> {
        let host = self.host.as_ref().unwrap();
        let model = &mut self.model;
        match op {
            Op::GetOutgoing => {
                let answer = host.get_outgoing(1).map(drop);
                if !model.flb_out_live {
                    return Some((answer, Err(Errno::ENOENT)));
                }
                model.flb_out_holders += 1;
                Some((answer, Ok(())))
            }
            Op::PutOutgoing if model.flb_out_holders > 0 => {
                host.put_outgoing(1);
                model.flb_out_holders -= 1;
                model.settle_outgoing_flb();
                None
            }
            Op::GetIncoming(fail) => {
                if *fail {
                    host.fail(Call::FlbRetrieve, 0, Errno::EFBIG);
                }
                let answer = host.get_incoming(1).map(drop);
                let Some((_, holders, state)) = &mut model.flb_in else {
                    let why = if model.warm {
                        Errno::ENOENT
                    } else {
                        Errno::ENODATA
                    };
                    return Some((answer, Err(why)));
                };
                if *state == Flb::Waiting {
                    model.log.push("flb_retrieve 1".into());
                    *state = if *fail { Flb::Failed } else { Flb::Live };
                }
                let expected = match state {
                    Flb::Failed => Err(Errno::EFBIG),
                    Flb::Finished => Err(Errno::ENODATA),
                    _ => {
                        *holders += 1;
                        Ok(())
                    }
                };
                Some((answer, expected))
            }
            Op::PutIncoming if model.flb_in.is_some_and(|(_, holders, _)| holders > 0) => {
                host.put_incoming(1);
                if let Some((_, holders, _)) = &mut model.flb_in {
                    *holders -= 1;
                }
                model.settle_incoming_flb();
                None
            }
            _ => None,
        }
    }

    /// Compares all that can be seen.
    fn compare(&mut self, op: &Op) {
        let log = std::mem::take(&mut self.model.log);
        assert_eq!(self.host().take_log(), log, "{op:?}");
        let model = &self.model;
        let known: &[Incoming] = if model.opened { &model.incoming } else { &[] };
        let out = model.files_out().count();
        let files_in = || known.iter().flat_map(|session| &session.files);
        let done = files_in().filter(|file| file.retrieval == Retrieval::Done);
        let pinned = files_in().filter(|file| !file.waits).count();
        let for_waiting = (0..2)
            .filter(|&kind| model.has_handler(kind) && model.waiting(kind) > 0)
            .count();
        let flb_in = matches!(model.flb_in, Some((_, _, Flb::Live)));
        let flbs = usize::from(model.flb_out_live) + usize::from(flb_in);
        let chains = model
            .outgoing
            .iter()
            .filter(|s| !s.files.is_empty())
            .count();
        let lost_out: usize = model.outgoing.iter().map(|s| s.lost.len()).sum();
        let lost_in: usize = known.iter().map(|s| s.lost.len()).sum();
        let records = (out + lost_out).div_ceil(63);
        let blocks = 4 + usize::from(!model.outgoing.is_empty()) + chains + records;
        let expected = Visible {
            state: model.state(),
            outgoing: model.outgoing.len(),
            incoming: known.len(),
            files: out + files_in().count() + lost_out + lost_in,
            counts: Counts {
                files: (out + done.count()) as isize,
                pins: (out + pinned + for_waiting + flbs) as isize,
                privates: out as isize,
                objects: flbs as isize,
                blocks: blocks as isize,
            },
        };
        assert_eq!(self.host().visible(), expected, "{op:?}");
        for session in model.outgoing.iter().filter(|s| !s.carrier) {
            let id = id(&self.made, session.label);
            let info = self.host().engine(|engine| engine.session_info(id));
            assert_eq!(
                info,
                Some((name(&text(session.label)), Direction::Outgoing))
            );
        }
        let number = self.host().engine(|engine| engine.update_number());
        assert_eq!(number, self.updates);
    }

    /// Closes everything; nothing may be left.
    pub fn end(&mut self) {
        self.step(&Op::Unfreeze);
        self.model.stuck.clear();
        self.host().script().stuck.clear();
        for kind in 0..2 {
            self.step(&Op::Register(kind));
        }
        self.step(&Op::Open);
        while self.model.flb_out_holders > 0 {
            self.step(&Op::PutOutgoing);
        }
        while self.model.flb_in.is_some_and(|(_, holders, _)| holders > 0) {
            self.step(&Op::PutIncoming);
        }
        for label in 0..4 {
            self.step(&Op::Claim(label));
        }
        while self.outgoing(0).is_some() {
            self.step(&Op::CloseOutgoing(0));
        }
        while self.incoming(0).is_some() {
            self.step(&Op::CloseIncoming(0));
        }
        let counts = self.host().counts();
        assert_eq!((counts.files, counts.pins, counts.privates), (0, 0, 0));
        assert_eq!((counts.objects, counts.blocks), (0, 4));
        // What is left can be updated to a machine that has nothing.
        self.step(&Op::Freeze(None));
        self.step(&Op::Kexec(None));
        assert!(self.model.incoming.is_empty());
    }
}
