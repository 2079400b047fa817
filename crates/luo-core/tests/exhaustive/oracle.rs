// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What should happen, by the rules alone: which callbacks run in which order,
//! and which of them are undone.

use luo_abi::errno::Errno;
use luo_abi::rfc::Event;
use luo_core::{Error, Failure};

use super::scene::{Act, Layout, Scene, Start, SUBSYSTEMS};
use crate::support::{compat, Call};

/// From here on a step is on the session at a place of the layout.
const SESSION: u64 = 100;

/// Something that a transition asks the host for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub call: Call,
    /// An object, a subsystem, or a session.
    pub on: u64,
}

/// What a fault comes to.
#[derive(Debug, PartialEq, Eq)]
pub struct Expected {
    pub log: Vec<String>,
    pub failure: Option<Failure>,
}

const fn step(call: Call, on: u64) -> Step {
    Step { call, on }
}

/// The word in the host's log; some steps do not go there.
fn word(call: Call) -> Option<&'static str> {
    Some(match call {
        Call::Preserve => "preserve",
        Call::Retrieve => "retrieve",
        Call::Freeze => "freeze",
        Call::Unfreeze => "unfreeze",
        Call::CanFinish => "can_finish",
        Call::Finish => "finish",
        Call::SubsystemPrepare => "subsystem_prepare",
        Call::SubsystemFreeze => "subsystem_freeze",
        Call::SubsystemFinish => "subsystem_finish",
        _ => return None,
    })
}

pub fn lines(steps: &[Step]) -> Vec<String> {
    let line = |step: &Step| word(step.call).map(|word| format!("{word} {}", step.on));
    steps.iter().filter_map(line).collect()
}

impl Layout {
    pub fn given(&self) -> Vec<u64> {
        let objects = self.sessions.iter().flat_map(|(_, objects)| *objects);
        objects.copied().collect()
    }

    /// The objects as given, but each behind all that it has to wait for, and right
    /// behind the last of them. `waits` are pairs: who waits, for whom.
    fn order(given: &[u64], waits: &[(u64, u64)]) -> Vec<u64> {
        let (mut order, mut passed) = (Vec::new(), Vec::new());
        let is_ready = |order: &[u64], of: u64| {
            let mut before = waits.iter().filter(|(who, _)| *who == of);
            before.all(|(_, other)| order.contains(other) || !given.contains(other))
        };
        for &object in given {
            if !is_ready(&order, object) {
                passed.push(object);
                continue;
            }
            let mut at = order.len();
            order.push(object);
            while let Some(&placed) = order.get(at) {
                at += 1;
                for &(who, other) in waits {
                    if other == placed && passed.contains(&who) && is_ready(&order, who) {
                        passed.retain(|&object| object != who);
                        order.push(who);
                    }
                }
            }
        }
        order
    }

    pub fn dependencies_first(&self, given: &[u64]) -> Vec<u64> {
        Self::order(given, self.needs)
    }

    pub fn dependents_first(&self, given: &[u64]) -> Vec<u64> {
        let turned = self.needs.iter().map(|&(from, on)| (on, from));
        Self::order(given, &turned.collect::<Vec<_>>())
    }

    fn prepare(&self) -> Vec<Step> {
        let order = self.dependencies_first(&self.given());
        let registered = order.into_iter().filter(|&object| self.is_device(object));
        registered
            .map(|object| step(Call::Preserve, object))
            .collect()
    }

    fn carry(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        // A page for sessions, one for files in each session, one for records.
        let mut recorded = false;
        for (at, (text, _)) in self.sessions.iter().enumerate() {
            let records = text.is_empty() && !recorded;
            recorded |= text.is_empty();
            let pages = usize::from(at == 0) + usize::from(records);
            steps.extend((0..pages).map(|_| step(Call::AllocBlock, SESSION + at as u64)));
        }
        let mut last = usize::MAX;
        for object in self.given() {
            let files = std::mem::replace(&mut last, self.place(object)) != last;
            let records = !std::mem::replace(&mut recorded, true);
            let pages = usize::from(files) + usize::from(records);
            steps.extend((0..pages).map(|_| step(Call::AllocBlock, object)));
        }
        for object in self.dependencies_first(&self.given()) {
            let calls = [Call::Retrieve, Call::PinHandler, Call::Preserve];
            steps.extend(calls.map(|call| step(call, object)));
        }
        steps
    }

    /// All that is asked for if nothing goes wrong, or none if it is not legal.
    pub fn steps(&self, start: Start, act: Act) -> Option<Vec<Step>> {
        let all = |call, objects: Vec<u64>| objects.into_iter().map(move |on| step(call, on));
        let subsystems = |call| SUBSYSTEMS.map(|number| step(call, number.into()));
        let prepare_subsystems = SUBSYSTEMS.map(|number| {
            let on = number.into();
            [
                step(Call::PinSubsystem, on),
                step(Call::SubsystemPrepare, on),
            ]
        });
        let freeze = |given: &[u64]| -> Vec<Step> {
            let files = all(Call::Freeze, self.dependents_first(given));
            files.chain(subsystems(Call::SubsystemFreeze)).collect()
        };
        let given = self.given();
        Some(match (start, act) {
            (Start::Normal, Some(Event::Prepare)) => {
                [self.prepare(), prepare_subsystems.concat()].concat()
            }
            (Start::Prepared, Some(Event::Freeze) | None) => freeze(&given),
            (Start::Normal, None) => {
                [self.prepare(), prepare_subsystems.concat(), freeze(&given)].concat()
            }
            (Start::Updated, None) => {
                [self.carry(), prepare_subsystems.concat(), freeze(&given)].concat()
            }
            (Start::Updated, Some(Event::Finish)) => {
                let mut steps = Vec::new();
                for object in self.dependencies_first(&given).into_iter().rev() {
                    steps.push(step(Call::CanFinish, object));
                    steps.push(step(Call::Finish, object));
                }
                for number in SUBSYSTEMS {
                    steps.push(step(Call::PinSubsystem, number.into()));
                    steps.push(step(Call::SubsystemFinish, number.into()));
                }
                steps
            }
            // A subsystem has had its last look.
            (Start::Frozen | Start::FrozenByReboot, None) => {
                let order = self.dependents_first(&given);
                let unfreeze = all(Call::Unfreeze, order.iter().rev().copied().collect());
                unfreeze.chain(all(Call::Freeze, order)).collect()
            }
            (Start::Prepared | Start::Frozen | Start::FrozenByReboot, Some(Event::Cancel)) => {
                Vec::new()
            }
            _ => return None,
        })
    }

    /// What was done before the act, to be undone with it.
    pub fn done_before(&self, start: Start) -> Vec<Step> {
        let prepared = self.steps(Start::Normal, Some(Event::Prepare)).unwrap();
        match start {
            Start::Normal | Start::Updated => Vec::new(),
            Start::Prepared => prepared,
            Start::Frozen | Start::FrozenByReboot => {
                let frozen = self.steps(Start::Prepared, Some(Event::Freeze)).unwrap();
                [prepared, frozen].concat()
            }
        }
    }

    /// How steps are undone: subsystems, freezing, preserving; each from the end.
    pub fn undo(&self, done: &[Step]) -> Vec<String> {
        let of = |call, word: &str| {
            let steps = done.iter().rev().filter(move |step| step.call == call);
            let lines = steps.map(|step| format!("{word} {}", step.on));
            lines.collect::<Vec<_>>()
        };
        [
            of(Call::SubsystemPrepare, "subsystem_cancel"),
            of(Call::Freeze, "unfreeze"),
            of(Call::Preserve, "unpreserve"),
        ]
        .concat()
    }

    /// What comes of the `nth` call of a kind failing; none if there is none.
    pub fn with_fault(
        &self,
        scene: &Scene,
        (start, act): (Start, Act),
        (call, nth, errno): (Call, usize, Errno),
    ) -> Option<Expected> {
        let steps = self.steps(start, act)?;
        let mut places = (0..steps.len()).filter(|&at| steps[at].call == call);
        let at = places.nth(nth)?;
        let on = steps[at].on;
        if act == Some(Event::Finish) {
            let log = lines(&self.finish_without(&steps, steps[at]));
            return Some(Expected { log, failure: None });
        }
        let mut before = self.done_before(start);
        if steps.iter().any(|step| step.call == Call::Unfreeze) {
            before.retain(|step| step.call != Call::Freeze);
        }
        let done = [before, steps[..at].to_vec()].concat();
        let mut log = lines(&steps[..=at]);
        log.extend(self.undo(&done));
        let failure = match call {
            Call::PinSubsystem => subsystem(on, Errno::ENODEV),
            Call::SubsystemPrepare | Call::SubsystemFreeze => subsystem(on, errno),
            _ if start == Start::Updated && call != Call::Freeze => {
                self.cannot_carry(scene, (call, on), errno)
            }
            _ => Failure::Handler {
                file: scene.name(on),
                handler: compat("handler", 0),
                errno,
            },
        };
        Some(Expected {
            log,
            failure: Some(failure),
        })
    }

    fn cannot_carry(&self, scene: &Scene, (call, on): (Call, u64), errno: Errno) -> Failure {
        let why = match call {
            Call::PinHandler => Error::OwnerGone,
            _ => Error::Host(errno),
        };
        let of_file = on < SESSION;
        let object = if of_file {
            on
        } else {
            self.sessions[(on - SESSION) as usize].1[0]
        };
        let name = scene.name(object);
        Failure::Carry {
            session: name.session,
            token: of_file.then_some(name.token),
            why,
        }
    }

    /// A finish where one handler does not let go, or one subsystem is away: that
    /// one stays, and what it needs.
    fn finish_without(&self, steps: &[Step], gone: Step) -> Vec<Step> {
        let mut stay = Vec::new();
        let mut left = Vec::new();
        for &step in steps {
            let needed = |&by: &u64| self.needs.contains(&(by, step.on));
            match step.call {
                Call::CanFinish if stay.iter().any(needed) => stay.push(step.on),
                Call::CanFinish if step == gone => {
                    stay.push(step.on);
                    left.push(step);
                }
                Call::Finish if stay.contains(&step.on) => {}
                Call::SubsystemFinish if gone.call == Call::PinSubsystem && step.on == gone.on => {}
                _ => left.push(step),
            }
        }
        left
    }
}

fn subsystem(number: u64, errno: Errno) -> Failure {
    Failure::Subsystem {
        name: compat("subsystem", u32::try_from(number).unwrap()),
        errno,
    }
}
