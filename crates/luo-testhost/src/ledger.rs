// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the host has lent to the engine and the engine has not given back.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};

use luo_core::looks;
use luo_core::mem::fault;

thread_local! {
    static IN_STEP: Cell<bool> = const { Cell::new(false) };
    static LONGEST: Cell<u64> = const { Cell::new(0) };
}

/// Runs `step` as one that holds the engine's lock.
pub fn in_step<R>(step: impl FnOnce() -> R) -> R {
    IN_STEP.set(true);
    fault::set_locked(true);
    let before = looks::taken();
    let answer = step();
    LONGEST.set(LONGEST.get().max(looks::taken().wrapping_sub(before)));
    IN_STEP.set(false);
    fault::set_locked(false);
    answer
}

/// What the longest step of this thread has looked at since this was asked last.
pub fn take_longest() -> u64 {
    LONGEST.take()
}

/// Whether this thread holds the engine's lock.
pub fn is_in_step() -> bool {
    IN_STEP.get()
}

/// Fails if this thread holds the engine's lock: callbacks may sleep, and what
/// the host lent may run any code when it goes.
pub fn assert_unlocked(what: impl std::fmt::Display) {
    // A panic inside a step unwinds through here; one report is enough.
    if !std::thread::panicking() {
        assert!(!IN_STEP.get(), "{what} under the engine's lock");
    }
}

/// The kinds of thing that are lent.
#[derive(Clone, Copy, Debug)]
pub enum Lent {
    File,
    Pin,
    Private,
    Object,
    Block,
}

#[derive(Default)]
pub struct Ledger([AtomicIsize; 5]);

/// How much of each kind is out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub files: isize,
    pub pins: isize,
    pub privates: isize,
    pub objects: isize,
    pub blocks: isize,
}

impl Ledger {
    pub fn counts(&self) -> Counts {
        let of = |kind: Lent| self.0[kind as usize].load(Ordering::SeqCst);
        Counts {
            files: of(Lent::File),
            pins: of(Lent::Pin),
            privates: of(Lent::Private),
            objects: of(Lent::Object),
            blocks: of(Lent::Block),
        }
    }
}

/// Stands in each thing that is lent; what is cloned is lent twice.
pub struct Ticket {
    ledger: Arc<Ledger>,
    kind: Lent,
}

impl Ticket {
    pub fn new(ledger: &Arc<Ledger>, kind: Lent) -> Self {
        ledger.0[kind as usize].fetch_add(1, Ordering::SeqCst);
        Self {
            ledger: Arc::clone(ledger),
            kind,
        }
    }
}

impl Clone for Ticket {
    fn clone(&self) -> Self {
        Self::new(&self.ledger, self.kind)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        assert_unlocked(format_args!("a {:?} dropped", self.kind));
        self.ledger.0[self.kind as usize].fetch_sub(1, Ordering::SeqCst);
    }
}
