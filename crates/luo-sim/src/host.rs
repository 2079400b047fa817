// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the simulator supplies to the engine.

use std::any::Any;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use luo_abi::errno::Errno;
use luo_abi::rfc::{Event, State};
use luo_calls::{CallHost, LINES, LINES_SECONDS, Level};
use luo_core::note::Unread;
use luo_core::ops::{self, Report};
use luo_core::{
    Access, Compat, Engine, Error, Failure, FileName, Host, Lock, PageError, Part, UserKinds,
};

use crate::caller::{self, LOOK};
use crate::descriptor::File;
use crate::driver::Driver;
use crate::fault::Step;
use crate::handler::Handler;
use crate::lock::lock;
use crate::log;
use crate::machine::Machine;
use crate::memfd;
use crate::memory::Block;
use crate::participant::{Never, Pin, Subsystem};

impl Machine {
    /// A callback: what goes wrong in it, and a note of it.
    pub(crate) fn callback(
        &self,
        step: Step,
        detail: impl core::fmt::Display,
    ) -> Result<(), Errno> {
        let told = self.reach(step);
        match &told {
            Ok(()) => self.note(0, step.word(), detail, 0),
            Err(errno) => self.note(0, step.word(), detail, errno),
        }
        told
    }

    /// The test driver, for what is registered only if it is there.
    pub(crate) fn driver(&self) -> Result<&Driver, Errno> {
        self.driver.as_ref().ok_or(Errno::ENODEV)
    }
}

impl Lock for Machine {
    fn now<R>(&self, step: impl FnOnce(&mut Engine<Self>) -> R) -> R {
        let mut engine = lock(&self.engine);
        let done = step(&mut engine);
        self.queues.wake(&mut engine);
        done
    }

    fn wait<R>(&self, mut step: impl FnMut(&mut Engine<Self>) -> Poll<R>) -> R {
        let mut engine = lock(&self.engine);
        loop {
            if let Poll::Ready(done) = step(&mut engine) {
                self.queues.wake(&mut engine);
                return done;
            }
            let _waits = self.driver.as_ref().and_then(Driver::waits);
            engine = self.queues.sleep(engine, None);
        }
    }

    fn wait_killable<R>(&self, step: impl FnMut(&mut Engine<Self>) -> Poll<R>) -> Result<R, Errno> {
        self.wait_until(None, step)
    }

    fn wait_patiently<R>(
        &self,
        step: impl FnMut(&mut Engine<Self>) -> Poll<R>,
    ) -> Result<R, Errno> {
        self.wait_until(Some(Instant::now() + self.policy.patience), step)
    }

    fn leaves_rest_to_worker(&self) -> bool {
        caller::is_users()
    }

    /// In a thread that works for no call, and while the call waits: nothing of it is the
    /// program's here.
    fn rest_is_wanted(&self) {
        thread::scope(|scope| {
            let rest = thread::Builder::new().spawn_scoped(scope, || ops::do_rest(self));
            if rest.is_err() {
                ops::do_rest(self);
            }
        });
    }

    /// Nobody is charged for anything here.
    fn bring_over(&self) -> Option<Result<(), Error>> {
        Some(ops::take_over(self))
    }
}

impl Machine {
    /// Runs a step for a caller who may be killed, and who waits until a moment at most.
    fn wait_until<R>(
        &self,
        end: Option<Instant>,
        mut step: impl FnMut(&mut Engine<Self>) -> Poll<R>,
    ) -> Result<R, Errno> {
        let mut engine = lock(&self.engine);
        loop {
            if let Poll::Ready(done) = step(&mut engine) {
                self.waits_for_turn(false);
                self.queues.wake(&mut engine);
                return Ok(done);
            }
            let left = end.map_or(LOOK, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                self.waits_for_turn(false);
                return Err(Errno::EBUSY);
            }
            self.waits_for_turn(true);
            let _waits = self.driver.as_ref().and_then(Driver::waits);
            // Nobody wakes us when the caller dies: look now and then.
            engine = self.queues.sleep(engine, Some(left.min(LOOK)));
            if !caller::is_waiting() {
                return Err(Errno::EAGAIN);
            }
        }
    }
}

impl CallHost for Machine {
    const IMPLEMENTATION: &'static str = "LUO in Rust, simulated";

    fn many_openers(&self) -> bool {
        self.policy.many_openers
    }

    fn opens_strictly(&self) -> bool {
        self.policy.opens_strictly
    }

    fn say(&self, level: Level, text: core::fmt::Arguments<'_>) {
        let level = match level {
            Level::Error => log::ERROR,
            Level::Warning => log::WARNING,
            Level::Info => log::INFO,
        };
        self.print(level, text);
    }

    fn say_now_and_then(&self, of: Part, level: Level, text: core::fmt::Arguments<'_>) {
        let is_said = {
            let mut lines = lock(&self.lines);
            let lines = &mut lines[usize::from(of == Part::Users)];
            let is_over = |begun: Instant| begun.elapsed() >= Duration::from_secs(LINES_SECONDS);
            let (begun, said) = lines
                .filter(|(begun, _)| !is_over(*begun))
                .unwrap_or((Instant::now(), 0));
            *lines = Some((begun, said.saturating_add(1)));
            said < LINES
        };
        if is_said {
            self.say(level, text);
        }
    }
}

impl Host for Machine {
    type File = File;
    type Handler = Handler;
    type Pin = Pin;
    type Private = Box<dyn Any + Send>;
    type Flb = Never;
    type Object = Never;
    type Subsystem = Subsystem;
    type Block = Block;
    type Page = Arc<[u8]>;

    fn transition_begun(&self, _event: Option<Event>) {
        *lock(&self.begun) = Some(Instant::now());
    }

    fn transition_ended(&self, report: &Report) {
        let begun = lock(&self.begun).take();
        let micros = begun.map_or(0, |begun| begun.elapsed().as_micros());
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        luo_calls::log::ended(self, report, micros);
        self.announce();
    }

    fn transition_failed(&self, event: Option<Event>, state: State, why: &Failure) {
        lock(&self.begun).take();
        luo_calls::log::failed(self, event, state, why);
        self.announce();
    }

    fn lost(&self, why: &Failure) {
        luo_calls::log::lost(self, why);
    }

    fn lost_unnamed(&self, part: Part, more: u64) {
        luo_calls::log::lost_unnamed(self, part, more);
    }

    fn taken_over(&self, sessions: usize, files: usize) {
        luo_calls::log::took_over(self, sessions, files);
    }

    fn handover_refused(&self, why: &Error) {
        luo_calls::log::refused(self, why);
    }

    fn handler_is_missing(&self, handler: &Compat, first: &FileName, more: usize) {
        luo_calls::log::handler_is_missing(self, handler, first, more);
    }

    fn more_are_missing(&self, handlers: usize) {
        luo_calls::log::more_are_missing(self, handlers);
    }

    fn handler_has_come(&self, handler: &Compat, files: usize) {
        luo_calls::log::handler_has_come(self, handler, files);
    }

    fn user_kinds(&self) -> UserKinds {
        self.policy.user_kinds()
    }

    fn unread(&self, compatible: &str, data: u64, why: Unread) {
        let text = format_args!("{compatible} at {data:#x} is not restored: {why}");
        self.print(log::ERROR, text);
    }

    fn alloc_block(&self) -> Result<Block, Errno> {
        self.reach(Step::Page)?;
        Ok(self.memory.block())
    }

    fn read_page(&self, address: u64) -> Result<Arc<[u8]>, PageError> {
        self.memory.read(address)
    }

    fn free_page(&self, address: u64) {
        self.memory.free(address);
    }

    fn access(&self, file: &File) -> Access {
        memfd::access(file)
    }

    fn narrow(&self, file: File, access: Access) -> Result<File, Errno> {
        memfd::reopen(&file, access)
    }
}
