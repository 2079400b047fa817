// SPDX-License-Identifier: MIT OR Apache-2.0
//! What came of a simulation.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use crate::fault::{Fault, Step};
use crate::trace::Event;

/// How a simulation has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The command of the last boot has ended.
    Exited(ExitStatus),
    /// It has ended without a kexec, and boots were left to run.
    NoKexec(ExitStatus),
    /// The last boot has asked for another that was not to be.
    NoMoreBoots,
    /// A program has switched the machine off.
    PowerOff,
    /// The same, and boots were left to run.
    TooEarly,
}

/// How a boot was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// By kexec.
    Kexec,
    /// By a restart, or a fault that stands for a loss of power.
    ColdBoot(Option<Step>),
    /// It was the last.
    Last,
}

/// A boot that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// How it was left.
    pub left: Left,
    /// The time from the end of the freeze to the start of the next boot's command:
    /// what the simulator itself takes for an update. Zero for the last boot.
    pub gap: Duration,
}

/// What came of a simulation.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// The boots, in order.
    pub boots: Vec<Boot>,
    pub(crate) output: Vec<u8>,
    /// Faults that were asked for and have not come about: whatever was to be tested by
    /// them was not.
    pub unfired: Vec<Fault>,
    /// Why a part of the trace could not be written, if one could not.
    pub trace_lost: Option<String>,
    /// All events, if they were to be kept.
    pub trace: Vec<Event>,
}

impl Outcome {
    /// Whether the last command succeeded, and all came about that was asked for: boots,
    /// faults, and a trace.
    #[must_use]
    pub fn success(&self) -> bool {
        self.code() == 0
    }

    /// The exit code: the program's, 128 and the signal that killed it, or 1 if that would
    /// be 0, and boots, faults or the trace did not come about as they were to.
    #[must_use]
    pub fn code(&self) -> u8 {
        let of = |status: ExitStatus| {
            let code = status.code().or_else(|| Some(128 + status.signal()?));
            code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
        };
        let is_missing = !self.unfired.is_empty() || self.trace_lost.is_some();
        let code = match self.ending {
            Ending::Exited(status) => of(status),
            Ending::NoKexec(status) => of(status).max(1),
            Ending::NoMoreBoots | Ending::TooEarly => 1,
            Ending::PowerOff => 0,
        };
        code.max(u8::from(is_missing))
    }

    /// What the programs wrote, if it was captured.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}
