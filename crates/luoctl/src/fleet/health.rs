// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs the health command, and counts for how long it says yes.

use std::io;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often it is looked whether the command has ended.
const EACH: Duration = Duration::from_millis(20);

/// Runs a command.
///
/// # Errors
/// In words: it says no, is late, or cannot be run.
pub fn run(command: &[String], within: Duration) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(());
    };
    let failed = |why: io::Error| format!("the health command {program} cannot be run: {why}");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let began = Instant::now();
    loop {
        match child.try_wait().map_err(failed)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("the health command {program} says no ({status})")),
            None if began.elapsed() >= within => {
                // It may have ended by itself by now.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "the health command {program} does not end within {} s",
                    within.as_secs_f64()
                ));
            }
            None => sleep(EACH),
        }
    }
}

/// For how long it has said yes without a break.
#[derive(Clone, Copy, Debug, Default)]
pub struct Soak {
    since: Option<Instant>,
}

impl Soak {
    /// It said yes or no. Says how much is left until it is enough; none if it is.
    pub fn said(&mut self, yes: bool, now: Instant, soak: Duration) -> Option<Duration> {
        if !yes {
            self.since = None;
            return Some(soak);
        }
        let since = *self.since.get_or_insert(now);
        let left = soak.saturating_sub(now.saturating_duration_since(since));
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(text: &str) -> Vec<String> {
        ["/bin/sh", "-c", text].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_command_says_yes_or_no_or_is_late() {
        let second = Duration::from_secs(1);
        run(&[], second).unwrap();
        run(&sh("exit 0"), 10 * second).unwrap();
        assert!(
            run(&sh("exit 3"), 10 * second)
                .unwrap_err()
                .contains("says no")
        );
        let late = run(&sh("exec sleep 60"), Duration::from_millis(50)).unwrap_err();
        assert!(late.contains("does not end"), "{late}");
        let missing = run(&["/nonexistent".to_owned()], second).unwrap_err();
        assert!(missing.contains("cannot be run"), "{missing}");
    }

    #[test]
    fn a_break_begins_the_soak_anew() {
        let (mut soak, begin) = (Soak::default(), Instant::now());
        let minute = Duration::from_secs(60);
        assert_eq!(soak.said(true, begin, 2 * minute), Some(2 * minute));
        assert_eq!(soak.said(true, begin + minute, 2 * minute), Some(minute));
        assert_eq!(
            soak.said(false, begin + minute, 2 * minute),
            Some(2 * minute)
        );
        let later = begin + 2 * minute;
        assert_eq!(soak.said(true, later, 2 * minute), Some(2 * minute));
        assert_eq!(soak.said(true, later + 2 * minute, 2 * minute), None);
        assert_eq!(Soak::default().said(true, begin, Duration::ZERO), None);
    }
}
