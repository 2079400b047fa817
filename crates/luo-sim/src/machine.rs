// SPDX-License-Identifier: MIT OR Apache-2.0
//! A simulated kernel: the engine under its lock, from boot to jump.
//!
//! ```text
//! boot    the previous kernel's root is read, the handler and the subsystems are
//!         registered, the root for the next kernel is made known
//! life    calls of programs, see `calls`
//! jump    what lies in blocks when the engine is dropped is all that is left
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::ops;
use luo_core::{Compat, Engine, Error, Host as _, Lock, RootPages};

use crate::caller;
use crate::device::Instance;
use crate::driver::Driver;
use crate::fault::{Action, Faults, Step};
use crate::handler::Handler;
use crate::handler::forge::Forge;
use crate::handler::memfd_kind::Memfd;
use crate::log::Log;
use crate::memfd::Memfds;
use crate::memory::{Handed, Memory};
use crate::participant::Subsystem;
use crate::policy::Policy;
use crate::stop::{End, Stop};
use crate::trace::Journal;

/// One simulated kernel.
pub(crate) struct Machine {
    pub(crate) engine: Mutex<Engine<Self>>,
    /// Notified after each step that ran to its end.
    pub(crate) stepped: Condvar,
    /// Those who wait for that.
    pub(crate) sleepers: AtomicUsize,
    /// Calls that are handled, by their numbers, and whether each waits for its turn,
    /// which ends when its caller is killed.
    pub(crate) calls: Mutex<BTreeMap<u64, bool>>,
    /// When the transition that is under way began.
    pub(crate) begun: Mutex<Option<Instant>>,
    pub(crate) memory: Memory,
    pub(crate) memfds: Memfds,
    pub(crate) policy: Policy,
    pub(crate) faults: Faults,
    pub(crate) journal: Arc<Journal>,
    pub(crate) log: Log,
    pub(crate) stop: Arc<Stop>,
    pub(crate) driver: Option<Driver>,
    /// Names of the subsystems; the engine knows them by their place.
    pub(crate) subsystems: Vec<Compat>,
    /// Set while the only one who may has the device open.
    pub(crate) opened: Arc<AtomicBool>,
    /// Counts what subsystems leave for themselves.
    pub(crate) subsystem_data: AtomicU64,
    /// Open instances of the device, to be told of changes.
    watchers: Mutex<Vec<Weak<Instance>>>,
}

/// What a machine is made of.
pub(crate) struct Parts {
    pub(crate) seed: (u64, u64),
    pub(crate) handed: Option<Handed>,
    pub(crate) policy: Policy,
    pub(crate) faults: Faults,
    pub(crate) journal: Arc<Journal>,
    pub(crate) stop: Arc<Stop>,
    pub(crate) subsystems: Vec<Compat>,
    pub(crate) test_driver: bool,
}

/// A lock whose content is right even if somebody panicked with it: each change is
/// one step of the engine, or one statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine {
    /// Boots.
    ///
    /// # Errors
    /// A subsystem's name is there twice; a fault that was asked for.
    pub(crate) fn boot(parts: Parts) -> Result<Self, crate::Error> {
        let entries = parts.handed.as_ref().map(Handed::entries);
        let machine = Self {
            engine: Mutex::new(Engine::new(parts.seed)),
            stepped: Condvar::new(),
            sleepers: AtomicUsize::new(0),
            calls: Mutex::default(),
            begun: Mutex::default(),
            memory: Memory::new(parts.handed),
            memfds: Memfds::default(),
            policy: parts.policy,
            faults: parts.faults,
            journal: parts.journal,
            log: Log::default(),
            stop: parts.stop,
            driver: parts.test_driver.then(Driver::default),
            subsystems: parts.subsystems,
            opened: Arc::default(),
            subsystem_data: AtomicU64::new(0),
            watchers: Mutex::default(),
        };
        if let Some([root, contract]) = entries {
            match ops::admit(&machine, root, Some(contract)) {
                Ok(root) => machine.info(format_args!(
                    "the previous kernel handed over, live update number {}",
                    root.update_number
                )),
                Err(why) => machine.refused(&why),
            }
        }
        let failed = |why: Error| crate::Error::Engine(why.to_string());
        let mut handlers = vec![Handler(&Memfd)];
        if machine.driver.is_some() {
            handlers.push(Handler(&Forge));
        }
        for handler in handlers {
            let name = Compat::try_from(handler.0.name()).map_err(|why| failed(why.into()))?;
            machine.now(|engine| engine.register_handler(name, handler).map_err(failed))?;
        }
        for (at, &name) in machine.subsystems.iter().enumerate() {
            let table = Subsystem::Named(at);
            let registered = machine.wait(|engine| engine.register_subsystem(name, &table));
            registered.map_err(|_| crate::Error::Subsystem(name.to_string()))?;
        }
        machine.arm().map_err(|why| failed(why.into()))?;
        Ok(machine)
    }

    /// Makes the root for the next kernel.
    fn arm(&self) -> Result<(), Errno> {
        let page = || self.alloc_block();
        let mut pages = Some(RootPages {
            root: page()?,
            flbs: page()?,
            supplement: page()?,
            subsystems: page()?,
        });
        self.now(|engine| {
            if let Some(pages) = pages.take() {
                engine.arm(pages);
            }
        });
        Ok(())
    }

    /// Jumps: gives what is left for the next kernel.
    pub(crate) fn jump(self) -> Option<Handed> {
        let roots = self.look(|engine| engine.root_address().zip(engine.supplement_address()));
        let (root, contract) = roots?;
        let memory = self.memory.clone();
        memory.prepare_jump(root, contract);
        drop(self);
        memory.jump()
    }

    /// Notes whether the call that this thread handles waits for its turn.
    pub(crate) fn waits_for_turn(&self, waits: bool) {
        let Some(id) = caller::current_call() else {
            return;
        };
        if let Some(known) = lock(&self.calls).get_mut(&id) {
            *known = waits;
        }
    }

    /// Looks at the engine.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Engine<Self>) -> R) -> R {
        look(&lock(&self.engine))
    }

    /// The state and the number of its changes since boot, which belong together.
    pub(crate) fn state(&self) -> (State, u64) {
        self.look(|engine| (engine.state(), engine.state_changes()))
    }

    /// Adds an open instance of the device, to be told of changes.
    pub(crate) fn watch(&self, instance: &Arc<Instance>) {
        let mut watchers = lock(&self.watchers);
        watchers.retain(|instance| instance.strong_count() > 0);
        watchers.push(Arc::downgrade(instance));
    }

    /// Tells those who watch that the state has changed.
    pub(crate) fn announce(&self) {
        let watchers: Vec<_> = lock(&self.watchers)
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        for instance in watchers {
            instance.tell(self);
        }
    }

    /// Notes an event.
    pub(crate) fn note(
        &self,
        pid: u32,
        call: &str,
        detail: impl core::fmt::Display,
        result: impl core::fmt::Display,
    ) {
        if self.journal.is_wanted() {
            let (state, _) = self.state();
            self.journal.note(pid, call, detail, result, state.word());
        }
    }

    /// A step is reached at which something may be wanted to go wrong.
    ///
    /// # Errors
    /// What is wanted.
    pub(crate) fn reach(&self, step: Step) -> Result<(), Errno> {
        let Some(action) = self.faults.reached(step) else {
            return Ok(());
        };
        let word = step.word();
        match action {
            Action::Fail(errno) => {
                self.note(0, "fault", word, errno);
                Err(errno)
            }
            Action::Crash => {
                self.note(0, "fault", word, "crash");
                self.stop.ask(End::Crash(step));
                // Whatever is done from here on happens in no kernel.
                Err(Errno::EIO)
            }
            Action::Delay(time) => {
                self.note(0, "fault", word, format_args!("{} ms", time.as_millis()));
                self.stop.sleep(time);
                Ok(())
            }
        }
    }

    /// What a subsystem leaves for itself: a new number each time.
    pub(crate) fn next_subsystem_data(&self) -> u64 {
        self.subsystem_data.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Says once that the handover is refused and what that means.
    pub(crate) fn refused(&self, why: &Error) {
        let until = match why {
            Error::Refused(refusal) if refusal.can_pass() => {
                "an open after its handler has been registered"
            }
            _ => "the next reboot",
        };
        self.error(format_args!(
            "{why}; its memory stays quarantined until {until}, \
             and opening /dev/liveupdate fails with EIO"
        ));
    }

    pub(crate) fn info(&self, text: core::fmt::Arguments<'_>) {
        self.say(crate::log::INFO, text);
    }

    pub(crate) fn warn(&self, text: core::fmt::Arguments<'_>) {
        self.say(crate::log::WARNING, text);
    }

    fn error(&self, text: core::fmt::Arguments<'_>) {
        self.say(crate::log::ERROR, text);
    }

    fn say(&self, level: u8, text: core::fmt::Arguments<'_>) {
        self.log.print(level, "luo", text);
        self.note(0, "log", text, "");
    }
}

/// How long a killable wait goes on before it looks whether its caller is there.
pub(crate) const LOOK: Duration = Duration::from_millis(20);
