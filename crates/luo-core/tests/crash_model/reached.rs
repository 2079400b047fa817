// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The state that a schedule has reached: what tells it from others, what can happen next,
//! and what is wrong with it.

use std::hash::Hasher;

use luo_abi::rfc::State;

use super::choice::{Choice, How, Place, AGENT, CLIENTS, PROGRAMS};
use super::explore::Node;
use super::oracle::{Rule, Verdict};
use super::print::Print;
use super::programs::Act;
use super::schedule::{run_as, Control, Program, Run};
use crate::support::{Call, TestHost};

impl Control {
    /// Looks at the state that is reached.
    pub(super) fn look(&self, run: &mut Run, host: &TestHost) -> Node {
        let (state, moving, hands_over) = host.engine(|engine| {
            let hands_over = engine.hands_over();
            (engine.state(), engine.is_moving(), hands_over)
        });
        let mut node = Node {
            print: self.print(run, host),
            choices: self.choices(run, state),
            from: run.parent.clone().zip(run.schedule.last().copied()),
            origin: self.origin,
            budget: run.budget,
            hands_over,
            end: false,
            verdict: run.oracle.verdict.clone(),
            own_memory: own_memory(run),
        };
        if hands_over && state != State::Frozen && !moving {
            let what = format!("{state}, and the root hands over");
            node.verdict = Some(Verdict(Rule::State, what));
        }
        if node.verdict.is_some() {
            return node;
        }
        let at_rest = |p: &Program| matches!(p.place, Place::Resting | Place::Gone);
        if run.programs.iter().all(at_rest) && run.programs[AGENT].place == Place::Gone {
            node.end = true;
            let end = || run.oracle.end(host);
            node.verdict = run_as(None, end).err();
        } else if node.choices.is_empty() {
            let places: Vec<_> = run.programs.iter().map(|p| p.place).collect();
            let what = format!("nobody can go on: {places:?}");
            node.verdict = Some(Verdict(Rule::Stuck, what));
        }
        node
    }

    fn print(&self, run: &Run, host: &TestHost) -> u64 {
        let mut into = Print::new();
        into.write_u64(self.origin);
        into.write_u8(run.budget);
        run.oracle.hash(&mut into);
        for program in &run.programs {
            for word in program.place.words() {
                into.write_u64(word);
            }
            into.write_u64(program.trace);
            into.write_u8(program.faulted.into());
        }
        host.engine(|engine| {
            engine.fingerprint(&mut into);
            if run.budget > 0 {
                engine.rooms(&mut into);
            }
        });
        let counts = host.counts();
        for count in [counts.files, counts.pins, counts.privates, counts.blocks] {
            into.write_isize(count);
        }
        into.write_usize(host.arrived_pages());
        into.finish()
    }

    fn choices(&self, run: &Run, state: State) -> Vec<Choice> {
        let mut choices = Vec::new();
        let mut add = |who, how| choices.push(Choice::Go(who, how));
        let busy = run.programs.iter().position(|program| {
            matches!(program.place, Place::Callback(..)) && !self.config.switch_in_callbacks
        });
        let mut clients = run.programs.iter().take(CLIENTS);
        let at_rest = clients.all(|p| matches!(p.place, Place::Resting | Place::Gone));
        for (who, program) in run.programs.iter().enumerate() {
            if busy.is_some_and(|busy| busy != who) {
                continue;
            }
            match program.place {
                Place::Between { killable, .. } => {
                    add(who, How::Well);
                    if killable && who < self.config.kills {
                        add(who, How::Kill);
                    }
                }
                Place::Resting if who < self.config.kills => add(who, How::Kill),
                Place::Deciding => {
                    for act in run.oracle.acts(state, self.config) {
                        // An agent that rests is as one that has not decided yet: it
                        // does so last, but for what it leaves to be undone.
                        if act != Act::Rest || at_rest {
                            add(who, How::Act(act));
                        }
                    }
                }
                Place::Step(_) => add(who, How::Well),
                Place::Callback(call, _) => {
                    add(who, How::Well);
                    if run.budget > 0 && can_fail(call) {
                        add(who, How::Veto);
                    }
                }
                Place::Waiting {
                    killable, woken, ..
                } => {
                    if woken {
                        add(who, How::Well);
                    }
                    // A client that is killed in a wait is as one that is killed before
                    // the call.
                    if killable && who == AGENT {
                        add(who, How::Kill);
                    }
                }
                Place::Resting | Place::Gone => {}
            }
        }
        choices
    }
}

/// The programs in a callback whose first request for memory is its own: to refuse it is a
/// veto, which is tried anyway.
fn own_memory(run: &Run) -> [bool; PROGRAMS] {
    let calls = [Call::Preserve, Call::Retrieve, Call::AllocBlock];
    std::array::from_fn(|who| {
        let place = run.programs[who].place;
        matches!(place, Place::Callback(call, _) if calls.contains(&call))
    })
}

fn can_fail(call: Call) -> bool {
    !matches!(
        call,
        Call::Step
            | Call::Unpreserve
            | Call::Unfreeze
            | Call::Finish
            | Call::FlbUnpreserve
            | Call::FlbFinish
            | Call::SubsystemCancel
            | Call::SubsystemFinish
    )
}
