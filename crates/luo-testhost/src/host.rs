// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host itself.

mod callbacks;
mod objects;
mod pipes;
mod steps;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use luo_abi::errno::Errno;
use luo_abi::rfc::{Event, State};
use luo_calls::Level;
use luo_core::mem::fault;
use luo_core::note::Unread;
use luo_core::ops::Report;
use luo_core::{
    Access, Compat, Engine, Error, Failure, FileName, Host, PageError, Part, UserKinds,
};

use crate::ledger::{Counts, Ledger, Lent, Ticket, assert_unlocked, in_step, is_in_step};
use crate::memory::{Arrived, FIRST_PAGE, Handed, Jump, TestBlock};
use crate::script::{Call, Hook, Script};
use crate::turns::Turns;

pub use self::pipes::{PipesOfHost, TestPipe};
use self::steps::Sleeper;

pub use self::objects::{
    FROZEN, TestFile, TestFlb, TestHandler, TestObject, TestPin, TestPrivate, TestSubsystem,
};

pub struct TestHost {
    engine: Mutex<Engine<Self>>,
    /// All wait here, whatever their queue, and look again after each step: a step that
    /// can go on although nobody has woken its queue is an error of the engine.
    stepped: Condvar,
    /// Callers who wait.
    sleepers: Mutex<Vec<Arc<Sleeper>>>,
    /// Wake-ups that a host would have made: callers who waited when somebody woke them.
    pub wake_ups: AtomicU64,
    /// Whether other threads can end a wait.
    threaded: bool,
    /// Whoever can be killed while waiting is.
    pub kills: AtomicBool,
    /// Whoever can be killed before a step that does not wait is.
    pub kills_before: AtomicBool,
    /// A caller that waits for what is under way gives up at once.
    pub impatient: AtomicBool,
    /// Somebody else takes over what was handed over, not who needs it.
    pub has_worker: AtomicBool,
    /// Whoever finishes a session leaves to somebody else what follows for others.
    pub leaves_rest: AtomicBool,
    /// How often that one was called.
    pub rests_wanted: AtomicU64,
    /// What was handed over is not of this host's making: FLBs and subsystems do not
    /// look at what was left for them.
    pub foreign: AtomicBool,
    /// One of each kind may have the device open.
    pub one_opener: AtomicBool,
    /// How many calls were made for all.
    pub for_all: AtomicU64,
    /// Users may preserve memfds alone.
    pub memfds_only: AtomicBool,
    /// How many steps stood with all others at once.
    pub steps_at_once: AtomicU64,
    /// Threads that wait for a step.
    pub waiting: AtomicUsize,
    /// Hands out turns to the threads; without, they run freely.
    pub turns: Option<Arc<dyn Turns>>,
    script: Mutex<Script>,
    pub pipes: Mutex<PipesOfHost>,
    pub arrived: Mutex<Arrived>,
    /// Lines of the log.
    pub said: Mutex<Vec<(Level, String)>>,
    /// The root that a previous kernel left, and its length.
    pub told: Option<(u64, usize)>,
    /// The same for what goes beside it.
    pub told_supplement: Option<(u64, usize)>,
    ledger: Arc<Ledger>,
    jump: Jump,
    next_address: AtomicU64,
    serial: AtomicU64,
}

impl TestHost {
    /// A machine that booted from a handover, or from cold.
    pub fn boot(handed: Option<Handed>, threaded: bool) -> Self {
        let told = handed.as_ref().map(|handed| (handed.root, handed.len));
        let told_supplement = handed.as_ref().and_then(|handed| handed.supplement);
        let handed = handed.unwrap_or_default();
        Self {
            engine: Mutex::new(Engine::new((0x0123_4567, 0x89ab_cdef))),
            stepped: Condvar::new(),
            sleepers: Mutex::default(),
            wake_ups: AtomicU64::new(0),
            threaded,
            kills: AtomicBool::new(false),
            kills_before: AtomicBool::new(false),
            impatient: AtomicBool::new(false),
            has_worker: AtomicBool::new(false),
            leaves_rest: AtomicBool::new(false),
            rests_wanted: AtomicU64::new(0),
            foreign: AtomicBool::new(false),
            one_opener: AtomicBool::new(false),
            for_all: AtomicU64::new(0),
            memfds_only: AtomicBool::new(false),
            steps_at_once: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            turns: None,
            script: Mutex::default(),
            pipes: Mutex::default(),
            said: Mutex::default(),
            arrived: Mutex::new(Arrived {
                pages: handed.pages,
                ..Arrived::default()
            }),
            told,
            told_supplement,
            ledger: Arc::default(),
            jump: Jump::default(),
            next_address: AtomicU64::new(handed.next_address.max(FIRST_PAGE)),
            serial: AtomicU64::new(1),
        }
    }

    /// From here on each block that goes leaves its bytes for the next kernel: for
    /// those in the hands of programs, which end before [`Self::kexec`].
    pub fn begin_kexec(&self) {
        self.jump.lock().unwrap().get_or_insert_default();
    }

    /// The machine jumps: what lies in blocks is all that is left of it.
    pub fn kexec(self) -> Handed {
        self.begin_kexec();
        let root = self.engine(|engine| engine.root_address()).unwrap();
        let supplement = self.engine(|engine| engine.supplement_address()).unwrap();
        let next_address = self.next_address.load(Ordering::SeqCst);
        let jump = Arc::clone(&self.jump);
        drop(self);
        let pages = jump.lock().unwrap().take().unwrap();
        Handed::new(root, supplement, pages, next_address)
    }

    /// Looks at the engine.
    pub fn engine<R>(&self, look: impl FnOnce(&mut Engine<Self>) -> R) -> R {
        let mut engine = self.engine.lock().unwrap();
        let seen = in_step(|| look(&mut engine));
        self.wake(&mut engine);
        seen
    }

    pub fn counts(&self) -> Counts {
        self.ledger.counts()
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// Makes a callback fail after `skip` calls that do not.
    pub fn fail(&self, call: Call, skip: usize, errno: Errno) {
        self.script().fail(call, skip, errno);
    }

    pub fn set_hook(&self, hook: impl FnMut(&TestHost, Call, u64) + Send + 'static) {
        self.script().hook = Some(Box::new(hook) as Hook);
    }

    /// What the callbacks did since the log was taken last.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.script().log)
    }

    pub fn new_file(&self, kind: u32, object: u64) -> TestFile {
        self.new_file_with(kind, object, Access::Full)
    }

    pub fn new_file_with(&self, kind: u32, object: u64, access: Access) -> TestFile {
        TestFile {
            kind,
            object,
            access,
            serial: self.serial.fetch_add(1, Ordering::SeqCst),
            _ticket: self.ticket(Lent::File),
        }
    }

    /// FLBs from number 100 on have no object.
    fn new_object(&self, flb: &TestFlb) -> Option<TestObject> {
        (flb.0 < 100).then(|| TestObject {
            flb: flb.0,
            _ticket: self.ticket(Lent::Object),
        })
    }

    fn ticket(&self, kind: Lent) -> Ticket {
        Ticket::new(&self.ledger, kind)
    }

    /// The common part of all callbacks: `line` goes to the log.
    fn called(&self, call: Call, object: u64, line: &str) -> Result<(), Errno> {
        assert_unlocked(line);
        let mut script = self.script();
        if !line.is_empty() {
            script.log.push(format!("{line} {object}"));
        }
        let outcome = script.outcome(call);
        let hook = script.hook.take();
        drop(script);
        if let Some(turns) = &self.turns {
            turns.callback(self, call, object)?;
        }
        if let Some(mut hook) = hook {
            hook(self, call, object);
            // A hook may set the next one.
            self.script().hook.get_or_insert(hook);
        }
        outcome
    }

    /// A pin may be taken under the lock; hooks, which call back, only without.
    fn pinned(&self, call: Call, table: u32) -> Option<()> {
        if is_in_step() {
            if let Some(turns) = &self.turns {
                turns.veto(call, table.into()).ok()?;
            }
            self.script().outcome(call).ok()
        } else {
            self.called(call, table.into(), "").ok()
        }
    }

    /// Checks what the previous kernel left for an FLB or a subsystem.
    fn check_arrived(&self, data: u64, left: u64) {
        if !self.foreign.load(Ordering::SeqCst) {
            assert_eq!(data, left);
        }
    }

    /// Whoever waits for the previous kernel's sessions waits still.
    fn nobody_has_seen_it(&self) {
        assert!(self.engine(|engine| engine.wants_takeover()));
    }

    fn memory(&self) -> Result<(), Errno> {
        fault::request().map_err(|_| Errno::ENOMEM)
    }
}

impl Host for TestHost {
    type File = TestFile;
    type Handler = TestHandler;
    type Pin = TestPin;
    type Private = TestPrivate;
    type Flb = TestFlb;
    type Object = TestObject;
    type Subsystem = TestSubsystem;
    type Block = TestBlock;
    type Page = Vec<u8>;

    fn transition_begun(&self, event: Option<Event>) {
        assert_unlocked("transition_begun");
        let word = event.map_or("reboot", Event::word);
        self.script().transitions.push(format!("{word} begins"));
    }

    fn transition_ended(&self, report: &Report) {
        assert_unlocked("transition_ended");
        let word = report.event.map_or("reboot", Event::word);
        let line = format!("{word}: {} -> {}", report.from, report.to);
        self.script().transitions.push(line);
    }

    fn transition_failed(&self, event: Option<Event>, state: State, why: &Failure) {
        assert_unlocked("transition_failed");
        let word = event.map_or("reboot", Event::word);
        let line = format!("{word} fails, {state}: {why}");
        self.script().transitions.push(line);
    }

    fn lost(&self, why: &Failure) {
        assert_unlocked("lost");
        self.script().lost.push(*why);
        luo_calls::log::lost(self, why);
    }

    fn lost_unnamed(&self, part: Part, more: u64) {
        assert_unlocked("lost_unnamed");
        luo_calls::log::lost_unnamed(self, part, more);
    }

    fn taken_over(&self, sessions: usize, files: usize) {
        assert_unlocked("taken_over");
        self.nobody_has_seen_it();
        self.script().taken_over.push((sessions, files));
        luo_calls::log::took_over(self, sessions, files);
    }

    fn handover_refused(&self, why: &Error) {
        assert_unlocked("handover_refused");
        self.nobody_has_seen_it();
        self.script().refusals.push(*why);
        luo_calls::log::refused(self, why);
    }

    fn handler_is_missing(&self, handler: &Compat, first: &FileName, more: usize) {
        assert_unlocked("handler_is_missing");
        self.nobody_has_seen_it();
        luo_calls::log::handler_is_missing(self, handler, first, more);
    }

    fn more_are_missing(&self, handlers: usize) {
        assert_unlocked("more_are_missing");
        self.nobody_has_seen_it();
        luo_calls::log::more_are_missing(self, handlers);
    }

    fn handler_has_come(&self, handler: &Compat, files: usize) {
        assert_unlocked("handler_has_come");
        luo_calls::log::handler_has_come(self, handler, files);
    }

    fn unread(&self, compatible: &str, _data: u64, why: Unread) {
        assert_unlocked("unread");
        let line = format!("{compatible} stays: {why}");
        self.script().log.push(line);
    }

    fn user_kinds(&self) -> UserKinds {
        UserKinds::of(!self.memfds_only.load(Ordering::SeqCst))
    }

    fn alloc_block(&self) -> Result<TestBlock, Errno> {
        self.called(Call::AllocBlock, 0, "")?;
        self.memory()?;
        let address = self.next_address.fetch_add(0x1000, Ordering::SeqCst);
        Ok(TestBlock::new(address, &self.jump, &self.ledger))
    }

    fn read_page(&self, address: u64) -> Result<Vec<u8>, PageError> {
        assert_unlocked("read_page");
        self.arrived.lock().unwrap().read(address)
    }

    fn free_page(&self, address: u64) {
        assert_unlocked("free_page");
        self.arrived.lock().unwrap().free(address);
    }

    fn access(&self, file: &TestFile) -> Access {
        assert_unlocked("access");
        file.access
    }

    fn narrow(&self, file: TestFile, access: Access) -> Result<TestFile, Errno> {
        self.called(Call::Narrow, file.object, "")?;
        Ok(self.new_file_with(file.kind, file.object, access))
    }
}
