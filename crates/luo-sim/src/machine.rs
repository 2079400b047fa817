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
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::{Compat, Engine, Lock as _, Quotas};

use crate::caller;
use crate::driver::Driver;
use crate::fault::{Action, Faults, Step};
use crate::lock::lock;
use crate::log::Log;
use crate::lookers::Lookers;
use crate::memfd::Memfds;
use crate::memory::{Handed, Memory};
use crate::open_files::OpenFiles;
use crate::path::Place;
use crate::permissions::Permissions;
use crate::policy::{Choice, Policy};
use crate::queues::Queues;
use crate::stop::{End, Stop};
use crate::trace::Journal;

/// One simulated kernel.
pub(crate) struct Machine {
    pub(crate) engine: Mutex<Engine<Self>>,
    /// Where those wait whose step has to wait for another.
    pub(crate) queues: Queues,
    /// Calls that are handled, by their numbers, and whether each waits for its turn,
    /// which ends when its caller is killed.
    pub(crate) calls: Mutex<BTreeMap<u64, bool>>,
    /// When the transition that is under way began.
    pub(crate) begun: Mutex<Option<Instant>>,
    pub(crate) memory: Memory,
    pub(crate) memfds: Memfds,
    pub(crate) open_files: OpenFiles,
    pub(crate) lookers: Arc<Lookers>,
    pub(crate) policy: Policy,
    /// What tells this boot from all others, as programs read it.
    pub(crate) boot_id: String,
    pub(crate) faults: Faults,
    pub(crate) journal: Arc<Journal>,
    pub(crate) log: Log,
    /// Since when lines that programs cause are counted, and how many there were: those of what
    /// is users', and all others.
    pub(crate) lines: Mutex<[Option<(Instant, u32)>; 2]>,
    pub(crate) stop: Arc<Stop>,
    pub(crate) driver: Option<Driver>,
    /// Whether it says that it has mainline's handler of memfds, in place of this project's.
    pub(crate) mainlines_memfds: bool,
    /// Names of the subsystems; the engine knows them by their place.
    pub(crate) subsystems: Vec<Compat>,
    /// Who may open the device, by the mode of its file.
    pub(crate) device_file: Mutex<Permissions>,
    /// The file beside the device that agents lock. Each machine has one, as each kernel has.
    pub(crate) lock_file: File,
    /// Counts what subsystems leave for themselves.
    pub(crate) subsystem_data: AtomicU64,
    /// Open instances of the device, to be told of changes.
    pub(crate) watchers: Mutex<Vec<Weak<dyn Watcher>>>,
}

/// A listener that is told of changes of state.
pub(crate) trait Watcher: Send + Sync {
    /// The state may have changed.
    fn changed(&self, machine: &Machine);
}

impl Machine {
    /// Whom the file at one of our places admits.
    pub(crate) fn permissions(&self, place: Place) -> Permissions {
        Permissions::of(*lock(&self.device_file), place)
    }

    /// Jumps: gives what is left for the next kernel.
    pub(crate) fn jump(self) -> Option<Handed> {
        let roots = self.look(|engine| engine.root_address().zip(engine.supplement_address()));
        let (root, supplement) = roots?;
        let memory = self.memory.clone();
        memory.prepare_jump(root, supplement);
        drop(self);
        memory.jump()
    }

    /// What is chosen, as a word.
    pub(crate) fn chosen(&self, choice: Choice) -> String {
        match choice {
            Choice::Users(whom, quota) => {
                self.look(|engine| engine.quotas(whom).get(quota).to_string())
            }
            Choice::Of(word) => self.policy.word(word).to_owned(),
        }
    }

    /// Decides it anew, as a line; false if it cannot be that.
    pub(crate) fn choose(&self, choice: Choice, line: &str) -> bool {
        match choice {
            Choice::Of(word) => self.policy.set(word, line),
            Choice::Users(whom, quota) => {
                let number = Quotas::number(line.as_bytes());
                if let Some(number) = number {
                    self.now(|engine| {
                        let mut quotas = engine.quotas(whom);
                        quotas.set(quota, number);
                        engine.set_quotas(whom, quotas);
                    });
                }
                number.is_some()
            }
        }
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

    /// Adds one who is told of changes.
    pub(crate) fn watch(&self, watcher: &Arc<dyn Watcher>) {
        let mut watchers = lock(&self.watchers);
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(Arc::downgrade(watcher));
    }

    /// Tells those who watch that the state has changed.
    pub(crate) fn announce(&self) {
        let watchers: Vec<_> = lock(&self.watchers)
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        for watcher in watchers {
            watcher.changed(self);
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

    /// Writes a line of the orchestrator to the log, and to the trace.
    pub(crate) fn print(&self, level: u8, text: core::fmt::Arguments<'_>) {
        self.log.print(level, "luo", text);
        self.note(0, "log", text, "");
    }

    /// A warning of the simulator's own.
    pub(crate) fn warn(&self, text: core::fmt::Arguments<'_>) {
        self.print(crate::log::WARNING, text);
    }
}
