// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Gets to a state by doing again what led to it, on the real engine.
//!
//! A run goes on past the state that was asked for, as long as what it comes to is new,
//! and remembers all it has seen: most steps cost no run of their own.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex};

use generator::{Generator, Gn};
use luo_core::mem::fault;

use super::choice::{Choice, How, PROGRAMS};
use super::oracle::{Oracle, Rule, Verdict};
use super::print::Print;
use super::programs::{Act, Scene};
use super::schedule::{run_as, Asked, Beginning, Control, Over};
use super::{Broken, Config};
use crate::support::ledger::in_step;
use crate::support::{Handed, TestHost};

/// A state: how it is reached, and what can happen next.
#[derive(Clone, Debug)]
pub struct Node {
    /// Equal for states that go on equally.
    pub print: u64,
    pub choices: Vec<Choice>,
    /// What it was reached from and how; none for the first of a machine.
    pub from: Option<(Arc<Node>, Choice)>,
    /// The machine it begins with.
    pub origin: u64,
    pub budget: u8,
    /// What is in memory now is more than nothing for the next kernel.
    pub hands_over: bool,
    pub own_memory: [bool; PROGRAMS],
    /// All programs are at rest.
    pub end: bool,
    pub verdict: Option<Verdict>,
}

impl Node {
    /// Nothing comes after what is wrong.
    pub fn bad(from: Option<(Arc<Node>, Choice)>, origin: u64, verdict: Verdict) -> Self {
        let mut print = Print::new();
        let before = from.as_ref().map(|(node, choice)| (node.print, *choice));
        print.write(format!("{before:?} {origin}").as_bytes());
        Self {
            print: print.finish(),
            choices: Vec::new(),
            from,
            origin,
            budget: 0,
            hands_over: false,
            own_memory: [false; PROGRAMS],
            end: true,
            verdict: Some(verdict),
        }
    }
}

impl Node {
    /// All choices since the machine came up.
    pub fn schedule(&self) -> Vec<Choice> {
        let mut schedule = Vec::new();
        let mut from = &self.from;
        while let Some((node, choice)) = from {
            schedule.push(*choice);
            from = &node.from;
        }
        schedule.reverse();
        schedule
    }

    fn key(&self) -> Key {
        let from = self.from.as_ref();
        from.map_or((self.origin, None), |(node, choice)| {
            (node.print, Some(*choice))
        })
    }
}

#[derive(Clone)]
pub struct Edge {
    pub node: Arc<Node>,
    /// What the host was asked for on the way.
    pub asked: Asked,
}

type Key = (u64, Option<Choice>);

/// Nobody chooses the keys to have them collide.
type Map<K, V> = HashMap<K, V, BuildHasherDefault<Print>>;

/// What is known: where each choice leads.
#[derive(Default)]
pub struct Edges(Mutex<Known>);

#[derive(Default)]
struct Known {
    edges: Map<Key, Edge>,
    nodes: Map<u64, Arc<Node>>,
    /// States that were reached another way, some of them: where from, how, and how
    /// that was reached.
    again: Vec<(Arc<Node>, Vec<Choice>)>,
    merges: usize,
    /// The run is to do again what is known.
    audit: bool,
    random: u64,
    mismatch: Option<String>,
}

impl Edges {
    /// Adds a state, or finds that it is there already; and how to go on, if that leads
    /// to something new. `schedule` is what the run has really done.
    pub fn add(
        &self,
        node: Node,
        asked: Asked,
        schedule: &[Choice],
    ) -> (Arc<Node>, Option<Choice>) {
        let mut known = self.0.lock().unwrap();
        let on = |choice: &&Choice| match choice {
            Choice::Go(_, how) => matches!(how, How::Well | How::Act(_)) && !is_last(**choice),
            Choice::Crash => false,
        };
        let going = node.verdict.is_none() && !node.end;
        let (key, print) = (node.key(), node.print);
        if known.audit {
            let edge = known.edges.get(&key);
            if edge.is_none_or(|edge| edge.node.print != print) {
                let before = edge.map(|edge| edge.node.schedule());
                known.mismatch = Some(format!("{schedule:?} is not as {before:?}"));
                return (Arc::new(node), None);
            }
            let random = known.random.wrapping_mul(6_364_136_223_846_793_005);
            known.random = random.wrapping_add(1);
            let all: Vec<_> = node.choices.iter().filter(on).copied().collect();
            let at = (known.random >> 33) as usize % all.len().max(1);
            let next = all.get(at).copied().filter(|_| going);
            return (Arc::new(node), next);
        }
        let unknown = |choice: &&Choice| !known.edges.contains_key(&(print, Some(**choice)));
        let all = node.choices.iter().filter(on);
        let next = all.filter(|_| going).find(unknown).copied();
        let there = known.nodes.get(&print).map(Arc::clone);
        let node = if let Some(there) = there {
            known.merges += 1;
            if let (0, Some((from, _))) = (known.merges % SAMPLE, &node.from) {
                known.again.push((Arc::clone(from), schedule.to_vec()));
            }
            there
        } else {
            let node = Arc::new(node);
            known.nodes.insert(print, Arc::clone(&node));
            node
        };
        let entry = Edge {
            node: Arc::clone(&node),
            asked,
        };
        known.edges.insert(key, entry);
        (node, next)
    }

    /// Notes where a jump leads.
    fn lead(&self, key: Key, node: Arc<Node>) {
        let asked = Asked::default();
        let mut known = self.0.lock().unwrap();
        known.edges.insert(key, Edge { node, asked });
    }

    fn get(&self, key: Key) -> Option<Edge> {
        self.0.lock().unwrap().edges.get(&key).cloned()
    }
}

fn is_last(choice: Choice) -> bool {
    matches!(choice, Choice::Crash | Choice::Go(_, How::Act(Act::Jump)))
}

/// What a machine has been given by the one before.
#[derive(Clone)]
struct Origin {
    handed: Option<Handed>,
    oracle: Oracle,
    budget: u8,
}

pub struct Explorer {
    pub config: Config,
    /// The stacks of the programs, used again in each run.
    programs: Mutex<[Generator<'static, (), ()>; PROGRAMS]>,
    edges: Arc<Edges>,
    origins: Mutex<Map<u64, Origin>>,
}

/// One in so many states that were reached another way is looked at again.
const SAMPLE: usize = 50;

/// Words of a program's stack.
const STACK: usize = 0x8000;

/// The origin of the first machine.
const COLD: u64 = 0;

impl Explorer {
    pub fn new(config: Config) -> Self {
        let cold = Origin {
            handed: None,
            oracle: Oracle::default(),
            budget: config.faults,
        };
        Self {
            config,
            programs: Mutex::new(std::array::from_fn(|_| {
                let mut stack = Gn::<()>::new_opt(STACK, || ());
                stack.resume();
                stack
            })),
            edges: Arc::default(),
            origins: Mutex::new(Map::from_iter([(COLD, cold)])),
        }
    }

    pub fn first(&self) -> Arc<Node> {
        self.entry(COLD)
    }

    /// The state that a machine begins in.
    fn entry(&self, origin: u64) -> Arc<Node> {
        let key = (origin, None);
        if self.edges.get(key).is_none() {
            self.replay(origin, Vec::new(), None);
        }
        self.edges.get(key).expect("it was looked at").node
    }

    /// Goes on, by chance, from states that were reached in more than one way: on the
    /// other way all has to be as it was. So it is seen that a print leaves nothing out
    /// that matters. How many such runs there were.
    pub fn audit(&self) -> usize {
        let again = {
            let mut known = self.edges.0.lock().unwrap();
            known.audit = true;
            std::mem::take(&mut known.again)
        };
        for (from, schedule) in &again {
            self.replay(from.origin, schedule.clone(), Some(from));
            let mismatch = self.edges.0.lock().unwrap().mismatch.take();
            assert_eq!(mismatch, None, "a print that leaves something out");
        }
        again.len()
    }

    /// How many machines there were that began with a handover.
    pub fn handovers(&self) -> usize {
        self.origins.lock().unwrap().len() - 1
    }

    /// All that can happen in a state.
    pub fn choices(&self, node: &Arc<Node>) -> Vec<Choice> {
        if node.verdict.is_some() {
            return Vec::new();
        }
        let mut choices = node.choices.clone();
        if node.budget > 0 && !node.end {
            for &choice in &node.choices {
                let (Choice::Go(who, How::Well | How::Act(_)), false) = (choice, is_last(choice))
                else {
                    continue;
                };
                let asked = self.edge(node, choice).asked;
                // A fault is the agent's, not its act's: it has one act at a time.
                let How::Well = how_of(choice) else { continue };
                let from = u8::from(node.own_memory[who]);
                choices.extend((from..asked.memory).map(|n| Choice::Go(who, How::NoMemory(n))));
                choices.extend((0..asked.pins).map(|n| Choice::Go(who, How::NoPin(n))));
            }
        }
        choices.push(Choice::Crash);
        choices
    }

    /// The state that a choice leads to; none if the machine is cold then.
    pub fn next(&self, node: &Arc<Node>, choice: Choice) -> Option<Arc<Node>> {
        if choice == Choice::Crash && !node.hands_over {
            return None;
        }
        Some(self.edge(node, choice).node)
    }

    fn edge(&self, node: &Arc<Node>, choice: Choice) -> Edge {
        let key = (node.print, Some(choice));
        if let Some(edge) = self.edges.get(key) {
            return edge;
        }
        let mut schedule = node.schedule();
        schedule.push(choice);
        let jumped = self.replay(node.origin, schedule, Some(node));
        if let Some((handed, oracle)) = jumped {
            let next = match self.arrive(handed, &oracle, node.budget) {
                Ok(origin) => self.entry(origin),
                Err(verdict) => {
                    let from = Some((Arc::clone(node), choice));
                    Arc::new(Node::bad(from, node.origin, verdict))
                }
            };
            self.edges.lead(key, next);
        }
        let edge = self.edges.get(key);
        edge.unwrap_or_else(|| panic!("{choice:?} does not come about: {node:?}"))
    }

    /// Runs a schedule on a machine, and on. What is handed over if it ends with that.
    fn replay(
        &self,
        origin: u64,
        schedule: Vec<Choice>,
        parent: Option<&Arc<Node>>,
    ) -> Option<(Handed, Oracle)> {
        let jumps = schedule.last().copied().is_some_and(is_last);
        let from = self.origins.lock().unwrap()[&origin].clone();
        let beginning = Beginning {
            origin,
            oracle: from.oracle,
            budget: from.budget,
        };
        let edges = Arc::clone(&self.edges);
        let parent = parent.cloned();
        let control = Control::new(beginning, schedule, parent, edges, self.config);
        let mut host = match from.handed {
            Some(handed) => TestHost::warm(handed),
            None => TestHost::cold(),
        };
        host.turns = Some(Arc::clone(&control) as _);
        let host = Arc::new(host);
        let mut programs = self.programs.lock().unwrap();
        for (me, stack) in programs.iter_mut().enumerate() {
            let (host, control) = (Arc::clone(&host), Arc::clone(&control));
            stack.init_code(move || program(&host, &control, me));
        }
        control.start(&host);
        while let Some(who) = control.turn() {
            run_as(Some(who), || programs[who].resume());
        }
        if jumps {
            host.begin_kexec();
        }
        control.abort(jumps);
        for (who, program) in programs.iter_mut().enumerate() {
            if !program.is_done() {
                run_as(Some(who), || program.resume());
            }
        }
        drop(programs);
        let oracle = control.run().oracle.clone();
        let host = Arc::into_inner(host).expect("nobody runs any more");
        jumps.then(|| (host.kexec(), oracle))
    }

    /// A machine comes up with what it has been given.
    fn arrive(&self, mut handed: Handed, oracle: &Oracle, budget: u8) -> Result<u64, Verdict> {
        if self.config.broken == Some(Broken::SwapsNames) {
            swap_names(&mut handed);
        }
        let mut next = oracle.jump()?;
        let host = TestHost::warm(handed.clone());
        next.arrived(&host)?;
        // What it goes on from is the machine that has read everything.
        let host = TestHost::warm(handed.clone());
        let opened = host.open();
        let mut print = Print::new();
        host.engine(|engine| engine.fingerprint(&mut print));
        next.hash(&mut print);
        print.write_u8(budget);
        print.write_usize(handed.pages.len());
        if opened.is_err() || host.arrived_pages() > 0 {
            let what = format!("{} pages that nobody names", host.arrived_pages());
            return Err(Verdict(Rule::Leaked, what));
        }
        let origin = print.finish();
        self.origins
            .lock()
            .unwrap()
            .entry(origin)
            .or_insert(Origin {
                handed: Some(handed),
                oracle: next,
                budget,
            });
        Ok(origin)
    }
}

fn how_of(choice: Choice) -> How {
    match choice {
        Choice::Go(_, how) => how,
        Choice::Crash => How::Kill,
    }
}

/// The first two sessions go to each other's owner.
fn swap_names(handed: &mut Handed) {
    let at = handed.sessions();
    if at == 0 || handed.word(at, 8) < 2 {
        return;
    }
    for word in (0..64).step_by(8) {
        let (first, second) = (16 + word, 16 + 80 + word);
        let words = (handed.word(at, first), handed.word(at, second));
        handed.set_word(at, first, words.1);
        handed.set_word(at, second, words.0);
    }
    handed.seal();
}

/// A program's part in a run.
fn program(host: &TestHost, control: &Control, me: usize) {
    let scene = Scene { host, control, me };
    let ended = catch_unwind(AssertUnwindSafe(|| scene.run()));
    fault::disarm();
    if let Err(why) = ended {
        // It may have been in a step.
        in_step(|| ());
        if !why.is::<Over>() {
            control.panicked(text(&*why));
        }
    }
}

fn text(why: &(dyn Any + Send)) -> String {
    let text = why.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| why.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic".to_owned())
}
