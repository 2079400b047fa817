// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Two clients, two files each, an update and every fault in it, in every
//! interleaving: explored by a model checker on the engine itself.
//!
//! A machine comes up cold. Each client makes a session and preserves its files; an
//! agent prepares, freezes, cancels or reboots, when it likes and in any order that is
//! legal, and the machine jumps or the kexec is refused. In the next kernel each client
//! opens the device, claims its session, gets its files back, finishes and closes. What
//! can happen in between, each at every step: another program goes on (`programs` run
//! on stacks of their own and stop before each step of the engine and in each
//! callback), a callback says no, a request for memory is refused, a client or a
//! waiting agent is killed, the power goes.
//!
//! stateright explores the states. A state is what led to it, done again on the engine
//! (`explore`); two are equal if all is that decides how they go on (`reached`): the
//! engine's fingerprint, the host's account, and of each program the call it is in and
//! what it has seen since that began. That this leaves nothing out is tested as well:
//! one in fifty of the states that were reached in more than one way goes on from the
//! other way by chance to its end, and each step has to be as it was.
//!
//! Not every place is a choice. A program in a callback goes on to its end, since
//! callbacks touch nothing of the engine; one model has others run there all the same.
//! A client that is killed in a call ends when the call does, as in the kernel. An agent
//! that does nothing any more is as one that has not decided yet.
//!
//! The model without failures has two files of one client and one of the other; the
//! others have fewer, to fit into the time of a test, and in each one client at most is
//! killed, none where a callback or memory fails: they are alike. `LUO_MODEL=whole cargo test -p luo-core crash_model` explores
//! two files each, without failures and with one and both clients killed, and
//! dependencies and the FINISH event with more of all. It takes its time.

#![allow(
    clippy::needless_range_loop,
    reason = "clients and files are numbers here"
)]

mod choice;
mod explore;
mod oracle;
mod print;
mod programs;
mod reached;
mod schedule;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use stateright::{Checker, HasDiscoveries, Model, Property};

use self::choice::Choice;
use self::explore::{Explorer, Node};
use self::oracle::Rule;
use crate::support::TestHost;

/// A rule that the host breaks, to see that it is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The sessions of a killed client stay open.
    ForgetsToClose,
    /// The machine jumps although the reboot was refused.
    JumpsAnyway,
    /// Sessions come up under each other's names.
    SwapsNames,
}

/// How much is explored.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Files of each client.
    files: [usize; 2],
    /// Clients that may be killed, the first ones.
    kills: usize,
    /// Calls of the agent before the jump.
    acts: u8,
    /// Callbacks and requests for memory that may fail, all together.
    faults: u8,
    /// A file of the first client needs the other one.
    depend: bool,
    /// A file of the second client needs one of the first.
    across: bool,
    /// The first client freezes its session before the others are.
    early: bool,
    /// The FINISH event may come at any time.
    finish: bool,
    /// Others may run while a callback does.
    switch_in_callbacks: bool,
    broken: Option<Broken>,
}

#[derive(Clone, Debug)]
pub enum Situation {
    At(Arc<Node>),
    /// The power was off: nothing is left.
    Cold,
}

impl Situation {
    fn print(&self) -> u64 {
        match self {
            Self::At(node) => node.print,
            Self::Cold => 1,
        }
    }

    fn breaks(&self, rule: Rule) -> bool {
        match self {
            Self::At(node) => node.verdict.as_ref().is_some_and(|v| v.0 == rule),
            Self::Cold => false,
        }
    }
}

impl PartialEq for Situation {
    fn eq(&self, other: &Self) -> bool {
        self.print() == other.print()
    }
}

impl Hash for Situation {
    fn hash<H: Hasher>(&self, into: &mut H) {
        into.write_u64(self.print());
    }
}

impl Model for Explorer {
    type State = Situation;
    type Action = Choice;

    fn init_states(&self) -> Vec<Situation> {
        vec![Situation::At(self.first())]
    }

    fn actions(&self, state: &Situation, actions: &mut Vec<Choice>) {
        if let Situation::At(node) = state {
            actions.extend(self.choices(node));
        }
    }

    fn next_state(&self, state: &Situation, choice: Choice) -> Option<Situation> {
        let Situation::At(node) = state else {
            return None;
        };
        let next = self.next(node, choice);
        Some(next.map_or(Situation::Cold, Situation::At))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        type Holds = fn(&Explorer, &Situation) -> bool;
        let rules: [(&'static str, Holds); 7] = [
            ("no file is lost", |_, s| !s.breaks(Rule::Lost)),
            ("no file is leaked", |_, s| !s.breaks(Rule::Leaked)),
            ("no file goes to the wrong owner", |_, s| {
                !s.breaks(Rule::WrongOwner)
            }),
            ("the state is right", |_, s| !s.breaks(Rule::State)),
            ("what is refused is refused for a reason", |_, s| {
                !s.breaks(Rule::Refused)
            }),
            ("nobody waits for ever", |_, s| !s.breaks(Rule::Stuck)),
            ("the protocol of the callbacks holds", |_, s| {
                !s.breaks(Rule::Protocol)
            }),
        ];
        let always = |(name, holds)| Property::always(name, holds);
        rules.into_iter().map(always).collect()
    }
}

/// The power goes: nothing is there, and nothing is given out.
fn cold_is_empty() {
    let host = TestHost::cold();
    host.open().unwrap();
    for name in programs::NAMES {
        assert_eq!(host.claim(name), Err(luo_core::Error::NoSession));
    }
    assert_eq!(host.visible(), TestHost::cold().visible());
}

const TWO_FILES: Config = Config {
    files: [2, 2],
    kills: 1,
    acts: 2,
    faults: 0,
    depend: false,
    across: false,
    early: false,
    finish: false,
    switch_in_callbacks: false,
    broken: None,
};

const ONE_FILE: Config = Config {
    files: [1, 1],
    acts: 1,
    ..TWO_FILES
};

/// Whether there is time for everything.
fn whole() -> bool {
    std::env::var_os("LUO_MODEL").is_some_and(|value| value == "whole")
}

/// Explores all there is, at least so many states.
fn check(config: Config, at_least: usize) {
    cold_is_empty();
    let begun = std::time::Instant::now();
    let checker = Explorer::new(config)
        .checker()
        .threads(1)
        .spawn_dfs()
        .join();
    for (name, path) in checker.discoveries() {
        if let Situation::At(node) = path.last_state() {
            let schedule = node.schedule();
            panic!("not so: {name}: {:?} after {schedule:?}", node.verdict);
        }
    }
    // Nothing bounds the search, and no property ends it early.
    assert!(checker.is_done());
    let states = checker.unique_state_count();
    let handovers = checker.model().handovers();
    let again = checker.model().audit();
    println!(
        "{config:?}: {states} states, {} steps, {handovers} handovers, {} deep, {again} runs again, {:?}",
        checker.state_count(),
        checker.max_depth(),
        begun.elapsed()
    );
    assert!(states >= at_least && handovers > 5 && again > 1000);
}

#[test]
fn every_interleaving_with_kills_and_crashes() {
    // Calls are admitted in each state, which makes many more of them.
    let (files, acts) = if whole() { ([2, 2], 2) } else { ([2, 1], 1) };
    let config = Config {
        files,
        acts,
        ..TWO_FILES
    };
    check(config, 100_000);
}

#[test]
fn every_failure_of_a_callback_or_of_memory() {
    let (faults, kills) = (1, 0);
    let one_file = Config { faults, ..ONE_FILE };
    check(Config { kills, ..one_file }, 300_000);
    if whole() {
        check(one_file, 2_000_000);
        let config = Config {
            faults,
            kills: 2,
            acts: 1,
            ..TWO_FILES
        };
        check(config, 4_000_000);
    }
}

#[test]
fn others_may_run_during_callbacks() {
    let config = Config {
        switch_in_callbacks: true,
        ..ONE_FILE
    };
    check(config, 100_000);
}

#[test]
fn the_finish_event_at_any_time() {
    let config = Config {
        finish: true,
        kills: 0,
        ..ONE_FILE
    };
    let files = [1, 0];
    check(Config { files, ..config }, 120_000);
    if whole() {
        check(config, 400_000);
    }
}

#[test]
fn files_that_need_others() {
    let config = Config {
        depend: true,
        files: [2, 1],
        kills: 0,
        ..ONE_FILE
    };
    check(config, 100_000);
    if whole() {
        let across = true;
        check(Config { across, ..config }, 250_000);
        let files = [2, 2];
        check(Config { files, ..config }, 150_000);
    }
}

#[test]
fn a_session_that_is_frozen_before_the_others() {
    let config = Config {
        early: true,
        ..ONE_FILE
    };
    check(config, 500_000);
    // The second file's veto undoes what was done to the first.
    let vetoed = Config {
        files: [2, 0],
        faults: 1,
        kills: 0,
        ..config
    };
    check(vetoed, 200_000);
    if whole() {
        let files = [2, 1];
        let config = Config { files, ..config };
        check(config, 200_000);
        let (depend, across) = (true, true);
        check(
            Config {
                depend,
                across,
                kills: 0,
                ..config
            },
            200_000,
        );
    }
}

/// Explores until something is found, which is to be what the host breaks.
fn finds(broken: Broken, rule: Rule) {
    let broken = Some(broken);
    let model = Explorer::new(Config {
        broken,
        ..TWO_FILES
    });
    let checker = model.checker().threads(1);
    let checker = checker.finish_when(HasDiscoveries::Any).spawn_dfs().join();
    let found = checker.discoveries().into_values();
    let rules = found.filter_map(|path| match path.last_state() {
        Situation::At(node) => node.verdict.clone().map(|verdict| verdict.0),
        Situation::Cold => None,
    });
    let rules: Vec<_> = rules.collect();
    assert!(rules.contains(&rule), "{rules:?}");
}

#[test]
fn finds_a_session_that_stays_open() {
    finds(Broken::ForgetsToClose, Rule::Leaked);
}

#[test]
fn finds_a_jump_too_early() {
    finds(Broken::JumpsAnyway, Rule::Lost);
}

#[test]
fn finds_sessions_under_wrong_names() {
    finds(Broken::SwapsNames, Rule::WrongOwner);
}
