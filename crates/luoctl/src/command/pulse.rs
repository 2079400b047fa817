// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether luod answers anybody, and how a command ends if it does not.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use luo_client::agent::{Error, Status};

use crate::exit::Exit;
use crate::failure::Failure;

/// How long an answer takes at most that is not worth a word.
const MOMENT: Duration = Duration::from_secs(2);

/// The same, where luod has only so long: there is a word before it is given up.
pub(super) fn moment(timeout: Duration) -> Duration {
    MOMENT.min(timeout / 2)
}

/// The end of a command whose luod hangs.
pub(super) fn given_up(timeout: Duration, left: &str) -> Failure {
    let message = format!(
        "luod does not answer, and is given up after {} s (--timeout): {left}",
        timeout.as_secs_f64()
    );
    Failure::new(Exit::TimedOut, "timed-out", message)
}

/// Whether luod answers anybody within a time.
pub(super) enum Pulse {
    Answers,
    Hangs,
    /// It is not there, or cannot be asked: whoever waits for it finds that out.
    Unknown,
}

pub(super) fn pulse(folder: &Path, within: Duration) -> Pulse {
    let asked = Status::connect_within(folder, within).and_then(|mut status| {
        status.set_timeout(Some(within));
        status.ping()
    });
    match asked {
        Ok(()) => Pulse::Answers,
        Err(Error::TimedOut { .. }) => Pulse::Hangs,
        Err(Error::NoAgent { why, .. }) if why.kind() == ErrorKind::TimedOut => Pulse::Hangs,
        Err(_) => Pulse::Unknown,
    }
}
