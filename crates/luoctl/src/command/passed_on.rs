// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signals that are a command's: luoctl passes them on while the command runs, and ends with it.

use std::fs::File;
use std::io;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use signal_hook::iterator::Signals;

use crate::exit::Exit;
use crate::failure::{Failure, Result};

const ALL: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// As long as this is there, signals do not end luoctl, but are passed on.
pub(super) struct PassedOn {
    signals: Signals,
    /// From then on each of them ends luoctl again.
    is_over: Arc<AtomicBool>,
}

impl PassedOn {
    pub(super) fn begin() -> Result<Self> {
        Self::wait().map_err(|why| {
            let message = format!("signals cannot be waited for: {why}");
            Failure::new(Exit::Internal, "system", message)
        })
    }

    fn wait() -> io::Result<Self> {
        let ignored = ignored(&std::fs::read_to_string("/proc/self/status")?);
        // What is ignored, by nohup or by a shell, the command is to ignore as well.
        let heeded = ALL.into_iter().filter(|signal| !ignored.contains(signal));
        let is_over = Arc::new(AtomicBool::new(false));
        for signal in heeded.clone() {
            register_conditional_default(signal, Arc::clone(&is_over))?;
        }
        let signals = Signals::new(heeded)?;
        Ok(Self { signals, is_over })
    }

    /// Passes on what has come. What a terminal's keys send has reached the command already, and
    /// many programs take a second one for more than the first.
    pub(super) fn pass_on(&mut self, child: &Child) {
        for number in self.signals.pending() {
            let is_of_a_key = matches!(number, SIGINT | SIGQUIT) && is_in_the_foreground();
            let signal = Signal::from_named_raw(number).filter(|_| !is_of_a_key);
            if let Some(signal) = signal {
                // The child is not waited for yet, so its number is not another process's.
                let _ = kill_process(Pid::from_child(child), signal);
            }
        }
    }
}

impl Drop for PassedOn {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
    }
}

/// Those of [`ALL`] that are ignored, as proc(5) has it.
fn ignored(status: &str) -> Vec<i32> {
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let is_in = |signal: &i32| mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1);
    ALL.into_iter().filter(is_in).collect()
}

/// Whether the keys of the terminal are for this process, and so for the command as well.
fn is_in_the_foreground() -> bool {
    let terminal = File::open("/dev/tty");
    terminal.is_ok_and(|terminal| tcgetpgrp(&terminal).is_ok_and(|group| group == getpgrp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nohup_has_ignored_stays_so() {
        assert_eq!(ignored("SigBlk:\t0\nSigIgn:\t0000000000001001\n"), [SIGHUP]);
        assert!(ignored("SigIgn:\t0000000000000000\n").is_empty());
        assert!(ignored("").is_empty());
    }
}
