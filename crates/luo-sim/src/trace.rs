// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happened, one event after the other.

use core::fmt;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Microseconds since the simulation began.
    pub micros: u64,
    /// The boot, counted from 0.
    pub boot: usize,
    /// The thread that made the call; 0 if none did.
    pub pid: u32,
    /// The call, the callback, or `log` for a message of the kernel.
    pub call: String,
    /// What it was about.
    pub detail: String,
    /// What it returned.
    pub result: String,
    /// The state of the machine after it.
    pub state: &'static str,
}

/// The line of a trace: `boot pid state call detail -> result`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.micros / 1_000_000, self.micros % 1_000_000);
        write!(
            f,
            "{seconds}.{micros:06} boot {} pid {} {} {}",
            self.boot, self.pid, self.state, self.call
        )?;
        if !self.detail.is_empty() {
            write!(f, " {}", self.detail)?;
        }
        if !self.result.is_empty() {
            write!(f, " -> {}", self.result)?;
        }
        Ok(())
    }
}

/// Where events go.
pub(crate) struct Journal {
    begun: Instant,
    boot: AtomicUsize,
    sinks: Mutex<Sinks>,
    wanted: bool,
}

/// The places that a trace is written to.
#[derive(Default)]
pub(crate) struct Sinks {
    /// Lines on standard error.
    pub(crate) lines: bool,
    /// JSON, a line each.
    pub(crate) json: Option<Arc<File>>,
    /// All of it, for the caller of the library.
    pub(crate) kept: Option<Vec<Event>>,
    /// Why something could not be written, the first time.
    pub(crate) lost: Option<String>,
}

impl Journal {
    pub(crate) fn new(sinks: Sinks) -> Self {
        Self {
            begun: Instant::now(),
            boot: AtomicUsize::new(0),
            wanted: sinks.lines || sinks.json.is_some() || sinks.kept.is_some(),
            sinks: Mutex::new(sinks),
        }
    }

    /// Whether anybody wants to know.
    pub(crate) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(crate) fn set_boot(&self, boot: usize) {
        self.boot.store(boot, Ordering::Relaxed);
    }

    fn sinks(&self) -> MutexGuard<'_, Sinks> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(
        &self,
        pid: u32,
        call: &str,
        detail: impl fmt::Display,
        result: impl fmt::Display,
        state: &'static str,
    ) {
        if !self.wanted {
            return;
        }
        let micros = self.begun.elapsed().as_micros();
        let event = Event {
            micros: u64::try_from(micros).unwrap_or(u64::MAX),
            boot: self.boot.load(Ordering::Relaxed),
            pid,
            call: call.to_owned(),
            detail: detail.to_string(),
            result: result.to_string(),
            state,
        };
        let mut sinks = self.sinks();
        if sinks.lines
            && let Err(why) = writeln!(std::io::stderr().lock(), "luo-sim: {event}")
        {
            sinks.lines = false;
            sinks.lost.get_or_insert(format!("standard error: {why}"));
        }
        if let Some(file) = &sinks.json {
            let mut file: &File = file;
            let line = serde_json::to_string(&event).unwrap_or_default();
            if let Err(why) = writeln!(file, "{line}") {
                sinks.json = None;
                sinks.lost.get_or_insert(why.to_string());
            }
        }
        if let Some(kept) = &mut sinks.kept {
            kept.push(event);
        }
    }

    /// Why a part of the trace could not be written.
    pub(crate) fn lost(&self) -> Option<String> {
        self.sinks().lost.clone()
    }

    /// All events so far, for the caller of the library.
    pub(crate) fn take(&self) -> Vec<Event> {
        self.sinks().kept.take().unwrap_or_default()
    }
}
