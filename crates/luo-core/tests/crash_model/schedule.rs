// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! One program at a time runs, as far as the next place where another could: what is
//! chosen there is the schedule.

use std::cell::Cell;
use std::hash::Hasher;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use luo_abi::errno::Errno;
use luo_core::mem::fault;

use super::choice::{Choice, How, Place, Who, AGENT, PROGRAMS};
use super::explore::{Edges, Node};
use super::oracle::{Oracle, Rule, Verdict};
use super::print::Print;
use super::programs::Act;
use super::Config;
use crate::support::{Call, TestHost, Turns};

thread_local! {
    static ME: Cell<Option<Who>> = const { Cell::new(None) };
}

/// Runs as a program, or as nobody.
pub fn run_as<R>(who: Option<Who>, run: impl FnOnce() -> R) -> R {
    let before = ME.replace(who);
    let answer = run();
    ME.set(before);
    answer
}

pub(super) struct Program {
    pub(super) place: Place,
    /// Which call it makes, and what it has seen since that began.
    pub(super) trace: u64,
    looking: Look,
    /// Its call has just begun: its first step follows without a stop.
    fresh: bool,
    how: How,
    /// Something was made to fail in its call.
    pub(super) faulted: bool,
}

impl Program {
    /// How it goes on decides what it does next. What a callback says is noted there.
    fn remember_how(&mut self) {
        let words = match self.how {
            How::Well | How::Veto => return,
            How::NoMemory(nth) => [1, nth.into()],
            How::NoPin(nth) => [2, nth.into()],
            How::Kill => [3, 0],
            How::Act(act) => [4, act as u64],
        };
        mix(&mut self.trace, &words);
    }
}

/// Asked of the host since the last stop.
#[derive(Clone, Copy, Default)]
pub struct Asked {
    pub memory: u8,
    pub pins: u8,
}

/// What a run is told to do and has found.
pub struct Run {
    pub(super) schedule: Vec<Choice>,
    at: usize,
    /// The state before the last choice.
    pub(super) parent: Option<Arc<Node>>,
    turn: Option<Who>,
    ending: Option<Ending>,
    pub(super) programs: [Program; PROGRAMS],
    pub oracle: Oracle,
    /// Failures that may be caused still.
    pub(super) budget: u8,
    asked: Asked,
    requests: u64,
}

/// The run is over, and the program ends where it stands: between two calls it returns,
/// which costs a small part of a panic; in a call this is what it panics with, if it cannot
/// go on to the end of that.
#[derive(Debug)]
pub struct Over;

/// How a run comes to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Nobody looks at the machine any more: calls go on to their ends, which costs less
    /// than a panic.
    Left,
    /// What is in memory now is what the next kernel gets: no program may do anything.
    Jumped,
}

pub struct Control {
    run: Mutex<Run>,
    edges: Arc<Edges>,
    pub(super) config: Config,
    pub(super) origin: u64,
}

fn mix(into: &mut u64, words: &[u64]) {
    let mut hasher = Print::new();
    hasher.write_u64(*into);
    for &word in words {
        hasher.write_u64(word);
    }
    *into = hasher.finish();
}

/// A number for a place in the engine's source, the same in all runs of this process.
fn mark(place: &'static Location<'static>) -> u64 {
    std::ptr::from_ref(place).addr() as u64
}

/// What a step is about to see.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Look {
    /// Where it stands.
    at: u64,
    outline: u64,
    moving: bool,
}

impl Look {
    fn new(at: u64, host: &TestHost) -> Self {
        let mut hasher = Print::new();
        let moving = host.engine(|engine| {
            engine.outline(&mut hasher);
            engine.is_moving()
        });
        Self {
            at,
            outline: hasher.finish(),
            moving,
        }
    }
}

/// What a run begins with.
pub struct Beginning {
    pub origin: u64,
    pub oracle: Oracle,
    pub budget: u8,
}

impl Control {
    pub fn new(
        beginning: Beginning,
        schedule: Vec<Choice>,
        parent: Option<Arc<Node>>,
        edges: Arc<Edges>,
        config: Config,
    ) -> Arc<Self> {
        let program = |who| Program {
            place: if who == AGENT {
                Place::Deciding
            } else {
                Place::Between {
                    at: 0,
                    killable: false,
                }
            },
            trace: 0,
            looking: Look::default(),
            fresh: false,
            how: How::Well,
            faulted: false,
        };
        Arc::new(Self {
            run: Mutex::new(Run {
                schedule,
                at: 0,
                parent,
                turn: None,
                ending: None,
                programs: std::array::from_fn(program),
                oracle: beginning.oracle,
                budget: beginning.budget,
                asked: Asked::default(),
                requests: 0,
            }),
            edges,
            config,
            origin: beginning.origin,
        })
    }

    pub fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn config(&self) -> Config {
        self.config
    }

    /// Whose turn it is first.
    pub fn start(&self, host: &TestHost) {
        self.dispatch(&mut self.run(), host);
    }

    /// Whose turn it is; nobody's if the run is through.
    pub fn turn(&self) -> Option<Who> {
        self.run().turn
    }

    /// Ends all programs: each that gets a turn.
    pub fn abort(&self, jumped: bool) {
        self.run().ending = Some(if jumped { Ending::Jumped } else { Ending::Left });
    }

    /// Who runs next, and how; what has not been looked at yet is looked at.
    fn dispatch(&self, run: &mut Run, host: &TestHost) {
        if run.at >= run.schedule.len() {
            let node = self.look(run, host);
            let (node, next) = self.edges.add(node, run.asked, &run.schedule);
            let Some(next) = next else {
                run.turn = None;
                return;
            };
            run.parent = Some(node);
            run.schedule.push(next);
        }
        let choice = run.schedule[run.at];
        run.at += 1;
        run.asked = Asked::default();
        match choice {
            Choice::Crash | Choice::Go(_, How::Act(Act::Jump)) => run.turn = None,
            Choice::Go(who, how) => {
                run.programs[who].how = how;
                if how.is_fault() {
                    run.budget -= 1;
                    run.programs[who].faulted = true;
                }
                run.turn = Some(who);
            }
        }
    }

    /// A program ended by a panic: an assertion of the host or of the program.
    pub fn panicked(&self, what: String) {
        let mut run = self.run();
        let verdict = Verdict(Rule::Protocol, what);
        let from = run.parent.clone().zip(run.schedule.last().copied());
        let node = Node::bad(from, self.origin, verdict);
        self.edges.add(node, Asked::default(), &run.schedule);
        run.turn = None;
    }

    /// Until it is a program's turn, or the run is over.
    fn wait_for_turn<'a>(
        &'a self,
        mut run: MutexGuard<'a, Run>,
        me: Who,
    ) -> Result<MutexGuard<'a, Run>, Over> {
        while run.turn != Some(me) && run.ending.is_none() {
            drop(run);
            #[allow(
                deprecated,
                reason = "the other way cannot reach into the engine's calls"
            )]
            generator::yield_with(());
            run = self.run();
        }
        if run.ending.is_some() {
            fault::disarm();
            return Err(Over);
        }
        // What follows may be refused memory, or a handler.
        let how = run.programs[me].how;
        fault::disarm();
        if let How::NoMemory(nth) = how {
            fault::fail_after(nth.into());
        }
        run.requests = fault::requests();
        Ok(run)
    }

    /// A program stops at a place until it is its turn again.
    fn park<'a>(
        &'a self,
        mut run: MutexGuard<'a, Run>,
        host: &TestHost,
        me: Who,
        place: Place,
    ) -> Result<MutexGuard<'a, Run>, Over> {
        if run.ending.is_some() {
            return Err(Over);
        }
        let asked = fault::requests() - run.requests;
        run.asked.memory = u8::try_from(asked).unwrap();
        run.programs[me].place = place;
        self.dispatch(&mut run, host);
        let mut run = self.wait_for_turn(run, me)?;
        let program = &mut run.programs[me];
        program.remember_how();
        Ok(run)
    }

    /// A program in the middle of a call stops at a place until it is its turn again, or
    /// nobody looks any more. If the machine has jumped, all that the call holds is let go of
    /// by a panic.
    fn park_in_call<'a>(
        &'a self,
        run: MutexGuard<'a, Run>,
        host: &TestHost,
        me: Who,
        place: Place,
    ) -> Result<MutexGuard<'a, Run>, Over> {
        self.park(run, host, me, place).map_err(|over| {
            if self.run().ending == Some(Ending::Jumped) {
                std::panic::resume_unwind(Box::new(over));
            }
            over
        })
    }

    /// A program waits for its very first turn.
    pub fn begin(&self, me: Who) -> Result<(), Over> {
        self.wait_for_turn(self.run(), me).map(drop)
    }

    /// A program is through.
    pub fn leave(&self, host: &TestHost, me: Who) -> Result<(), Over> {
        let mut run = self.run();
        run.programs[me].trace = 0;
        self.park(run, host, me, Place::Gone).map(drop)
    }

    /// A program is between two calls.
    pub fn between(&self, host: &TestHost, me: Who, place: Place) -> Result<How, Over> {
        let mut run = self.run();
        let program = &mut run.programs[me];
        let at = match place {
            Place::Between { at, .. } => at,
            _ => 0,
        };
        (program.trace, program.faulted) = (at, false);
        let mut run = self.park(run, host, me, place)?;
        run.programs[me].fresh = true;
        let how = run.programs[me].how;
        run.oracle.acted(how);
        Ok(how)
    }

    /// The first call of a program has begun with its first turn.
    pub fn first(&self, me: Who) -> How {
        let mut run = self.run();
        run.programs[me].fresh = true;
        run.programs[me].remember_how();
        let how = run.programs[me].how;
        run.oracle.acted(how);
        how
    }

    /// Whether something was made to fail in the program's call.
    pub fn was_faulted(&self, me: Who) -> bool {
        self.run().programs[me].faulted
    }
}

impl Turns for Control {
    fn step(&self, host: &TestHost, place: &'static Location<'static>) {
        let Some(me) = ME.get() else { return };
        let mut run = self.run();
        if !std::mem::take(&mut run.programs[me].fresh) {
            let Ok(after) = self.park_in_call(run, host, me, Place::Step(mark(place))) else {
                return;
            };
            run = after;
        }
        run.programs[me].looking = Look::new(mark(place), host);
    }

    fn stepped(&self) {
        let Some(me) = ME.get() else { return };
        let mut run = self.run();
        if run.ending.is_some() {
            return;
        }
        let program = &mut run.programs[me];
        let Look { at, outline, .. } = program.looking;
        mix(&mut program.trace, &[at, outline]);
        for program in &mut run.programs {
            if let Place::Waiting { woken, .. } = &mut program.place {
                *woken = true;
            }
        }
    }

    fn wait(&self, host: &TestHost, killable: bool) -> Result<(), Errno> {
        let Some(me) = ME.get() else {
            panic!("would block, and nobody is there to end it");
        };
        let mut run = self.run();
        let program = &mut run.programs[me];
        let at = program.looking.at;
        let after = Look::new(at, host);
        if program.looking != after {
            // It has announced itself, and knows.
            mix(&mut program.trace, &[after.outline]);
        }
        let place = Place::Waiting {
            at,
            killable,
            woken: false,
        };
        // Nobody will end the wait of a run that is over: its caller is killed, which costs less
        // than a panic, where it can be.
        let mut run = match self.park_in_call(run, host, me, place) {
            Ok(run) => run,
            Err(_) if killable => return Err(Errno::EAGAIN),
            Err(over) => std::panic::resume_unwind(Box::new(over)),
        };
        if run.programs[me].how == How::Kill {
            return Err(Errno::EAGAIN);
        }
        run.programs[me].looking = Look::new(at, host);
        Ok(())
    }

    fn callback(&self, host: &TestHost, call: Call, object: u64) -> Result<(), Errno> {
        let Some(me) = ME.get() else { return Ok(()) };
        let place = Place::Callback(call, object);
        let Ok(mut run) = self.park_in_call(self.run(), host, me, place) else {
            return Ok(());
        };
        let vetoed = run.programs[me].how == How::Veto;
        let words = [call as u64, object, vetoed.into()];
        mix(&mut run.programs[me].trace, &words);
        run.oracle.called(call, object, !vetoed);
        match (vetoed, call) {
            (false, _) => Ok(()),
            (true, Call::AllocBlock) => Err(Errno::ENOMEM),
            (true, _) => Err(Errno::EBUSY),
        }
    }

    fn veto(&self, _: Call, _: u64) -> Result<(), Errno> {
        let Some(me) = ME.get() else { return Ok(()) };
        let mut run = self.run();
        if run.ending.is_some() {
            return Ok(());
        }
        let at = run.asked.pins;
        run.asked.pins += 1;
        if run.programs[me].how == How::NoPin(at) {
            run.oracle.handler_went = true;
            return Err(Errno::ENODEV);
        }
        Ok(())
    }
}
