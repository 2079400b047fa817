// SPDX-License-Identifier: MIT OR Apache-2.0
//! The test driver: files and subsystems that fail or wait on demand and write down
//! what they are called for. It is what the kernel's `lib/tests/luo_forge_parts.c` and
//! `lib/tests/luo_participant.rs` are to tests of our kernel, with the same names, the
//! same parameters and the same answers; both say in full what it does.
//!
//! - `/dev/luo_forge`: each open has an ID, from 1 in the order of the opens since
//!   boot, and can be preserved (handler `forge-v1`, registered at boot or, by the kernel's
//!   parameter `luo_forge.late=1`, on request). See [`forge`].
//! - The subsystems `forge-a` and `forge-b`, registered on request. See [`subsystem`].
//! - `/dev/luo_participant`: the subsystem `forge-rust`, registered while it is open.
//! - Parameters: by ioctl on `/dev/luo_forge`, see [`luo_sys::test_driver`] and
//!   [`parameter`].
//!
//! It differs from the kernel's in this: nothing of it is read or written but what the
//! participant left, which is as of the open; there is the parameter `id` instead. It
//! does not poll. It composes no handover.
//!
//! With it a callback may wait for as long as a test likes, see [`Driver::enter`]; so
//! nothing that may have to wait for one is done by the thread that leads the others
//! (`supervisor`). A last close that comes while none waits is over before the next
//! call begins; one that comes while one does goes on beside the calls that follow.

mod forge;
mod parameter;
mod subsystem;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use luo_abi::errno::Errno;

use crate::caller::{self, LOOK};
use crate::log::{self, Log};
use crate::stop::Stop;

pub(crate) use forge::HANDLER;
pub(crate) use parameter::call;
pub(crate) use subsystem::{Participant, Subsystem};

/// Where the driver's devices are.
pub(crate) const FORGE: &str = "/dev/luo_forge";
pub(crate) const PARTICIPANT: &str = "/dev/luo_participant";

/// The parameter by which the handler comes on request and not at boot.
pub(crate) const LATE: &str = "luo_forge.late=1";

/// Bytes of the log of calls: what does not fit is lost.
const LOG: usize = 4000;

/// Bytes of words of that log with a space between them, and the terminating zero.
const WORDS: usize = 256;

/// The driver of one machine.
#[derive(Default)]
pub(crate) struct Driver {
    state: Mutex<State>,
    /// Notified when another callback waits, or is to wait, and when a close is over.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    numbers: Numbers,
    print_calls: bool,
    calls: String,
    /// The callbacks that are to wait, and those that do.
    hold: String,
    held: String,
    last_id: u32,
    /// Files by the number of the socket that programs hold; with each our end.
    files: HashMap<u64, (u32, OwnedFd)>,
    /// Last closes that are under way.
    closing: usize,
    /// Threads of programs whose calls wait.
    waiting: Vec<u32>,
}

/// As long as it is there, the caller of the call that this thread handles is one who
/// waits.
pub(crate) struct Waits<'a> {
    driver: &'a Driver,
    thread: u32,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut state = self.driver.state();
        let at = state
            .waiting
            .iter()
            .position(|&thread| thread == self.thread);
        at.map(|at| state.waiting.swap_remove(at));
    }
}

/// Parameters that are numbers, as in the kernel's driver.
#[derive(Clone, Copy, Default)]
struct Numbers {
    fault_file: i32,
    preserve_errno: i32,
    freeze_errno: i32,
    retrieve_errno: i32,
    subsystem_prepare_errno: i32,
    subsystem_freeze_errno: i32,
    freeze_passes: i32,
    finish_refusals: i32,
    preserved: i32,
    frozen: i32,
}

impl Numbers {
    /// Whether faults strike a file.
    fn strike(&self, id: u32) -> bool {
        self.fault_file == 0 || u32::try_from(self.fault_file) == Ok(id)
    }
}

/// Whether a word is among others.
fn is_among(word: &str, words: &str) -> bool {
    words.split(' ').any(|one| one == word)
}

/// Adds a word to others.
fn add(words: &mut String, word: &str) {
    if !words.is_empty() {
        words.push(' ');
    }
    words.push_str(word);
}

/// A positive error number; 0 lets the callback succeed.
fn fail_with(number: i32) -> Result<(), Errno> {
    Errno::check(number.max(0).wrapping_neg()).map(drop)
}

impl Driver {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        // The end of the machine is told to nobody here: look now and then.
        let waited = self.changed.wait_timeout(state, LOOK);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Has it be known that the caller waits, if this thread handles a call.
    pub(crate) fn waits(&self) -> Option<Waits<'_>> {
        let thread = caller::current()?;
        self.state().waiting.push(thread);
        Some(Waits {
            driver: self,
            thread,
        })
    }

    /// The begin of each callback, before it does anything: writes its word down, and
    /// waits if it is to wait, until it is not or the machine ends.
    fn enter(&self, log: &Log, stop: &Stop, word: &str) {
        let mut state = self.state();
        if state.print_calls {
            log.print(log::INFO, "luo_forge", word);
        }
        let space = usize::from(!state.calls.is_empty());
        if state.calls.len() + space + word.len() < LOG {
            add(&mut state.calls, word);
        }
        while is_among(word, &state.hold) && !stop.is_asked() {
            if !is_among(word, &state.held) {
                add(&mut state.held, word);
                self.changed.notify_all();
            }
            state = self.wait(state);
        }
    }

    /// Decides anew which callbacks are to wait; none if there is no word.
    fn hold(&self, words: &str) -> Result<(), Errno> {
        if words.len() >= WORDS {
            return Err(Errno::EINVAL);
        }
        let mut state = self.state();
        words.clone_into(&mut state.hold);
        state.held.clear();
        self.changed.notify_all();
        Ok(())
    }

    /// A last close begins.
    pub(crate) fn close_begins(&self) {
        self.state().closing += 1;
    }

    /// A last close is over.
    pub(crate) fn close_ends(&self) {
        self.state().closing -= 1;
        self.changed.notify_all();
    }

    /// Waits until no last close is under way; not while a callback waits, which one
    /// of them may have to wait for.
    pub(crate) fn let_closes_end(&self, stop: &Stop) {
        let mut state = self.state();
        while state.closing > 0 && state.held.is_empty() && !stop.is_asked() {
            state = self.wait(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_strike_all_or_one() {
        let mut numbers = Numbers::default();
        assert!(numbers.strike(1) && numbers.strike(2));
        numbers.fault_file = 2;
        assert!(!numbers.strike(1) && numbers.strike(2));
    }

    #[test]
    fn a_word_is_among_others_as_a_whole() {
        let mut words = String::new();
        assert!(!is_among("preserve:1", &words));
        for word in ["unpreserve:1", "preserve:12", "freeze:1"] {
            add(&mut words, word);
            assert!(is_among(word, &words));
        }
        assert_eq!(words, "unpreserve:1 preserve:12 freeze:1");
        assert!(!is_among("preserve:1", &words));
    }

    #[test]
    fn an_error_number_is_positive() {
        assert_eq!(fail_with(0), Ok(()));
        assert_eq!(fail_with(i32::MIN), Ok(()));
        assert_eq!(fail_with(27), Err(Errno::EFBIG));
    }
}
