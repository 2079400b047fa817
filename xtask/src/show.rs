// SPDX-License-Identifier: MIT OR Apache-2.0
//! How cases and events look on a terminal.

use std::io::{self, Write as _};

use luo_lab::judge::Case;
use luo_lab::run::qemu::Stamped;
use luo_lab_protocol::{Event, Outcome};

/// One line a case, with its reason below if it did not pass.
pub(crate) fn case(case: &Case) {
    let word = match case.outcome {
        Outcome::Passed => "ok     ",
        Outcome::Failed => "FAILED ",
        Outcome::Skipped => "skipped",
    };
    line(&format!("{word} {}", case.name));
    if case.outcome != Outcome::Passed && !case.detail.is_empty() {
        line(&format!("    {}", case.detail));
    }
}

/// What a person wants to follow while a machine runs.
pub(crate) fn progress(event: &Stamped<Event>) {
    let at = event.at.as_secs_f64();
    match &event.what {
        Event::Boot { release, boot, .. } => line(&format!(
            "[{at:7.2} s] kernel {release} is up (boot {boot})"
        )),
        Event::Progress { text } => line(&format!("[{at:7.2} s] {text}")),
        _ => {}
    }
}

/// A line on standard output. One that nobody reads any more is no failure.
pub(crate) fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
