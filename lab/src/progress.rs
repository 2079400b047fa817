// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a long step shows that it is alive.
//!
//! On a terminal it is a bar or a spinner that ends as one line; elsewhere (a
//! log, CI) it is a plain line at the start, one every 15 s, and one at the
//! end. Both go to standard error: standard output is for results.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const PLAIN_INTERVAL: Duration = Duration::from_secs(15);

/// What a step counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown in MB.
    Bytes,
    /// Things that have a name, for example `objects`.
    Things(&'static str),
}

impl Unit {
    fn show(self, done: u64, total: Option<u64>) -> String {
        let of = |done: String, total: Option<String>| match total {
            Some(total) => format!("{done} of {total}"),
            None => done,
        };
        match self {
            Self::Bytes => {
                let megabytes = |n: u64| format!("{}", n / 1_000_000);
                of(megabytes(done), total.map(megabytes)) + " MB"
            }
            Self::Things(name) => {
                of(done.to_string(), total.map(|n| format!("about {n}"))) + " " + name
            }
        }
    }
}

/// One step under way. Dropping it without [`Step::done`] shows it as failed.
#[derive(Debug)]
pub struct Step {
    title: String,
    unit: Unit,
    total: Option<u64>,
    done: u64,
    started: Instant,
    printed: Instant,
    bar: Option<ProgressBar>,
    finished: bool,
}

impl Step {
    /// Announces a step.
    #[must_use]
    pub fn new(title: &str) -> Self {
        Self::counting(title, Unit::Things("lines"), None)
    }

    /// Announces a step that counts towards a total, if that is known.
    #[must_use]
    pub fn counting(title: &str, unit: Unit, total: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(title, total));
        if bar.is_none() {
            eprintln!("==> {title}");
        }
        let now = Instant::now();
        let title = title.to_owned();
        Self {
            title,
            unit,
            total,
            done: 0,
            started: now,
            printed: now,
            bar,
            finished: false,
        }
    }

    /// Says how far the step is.
    pub fn set(&mut self, done: u64) {
        self.done = done;
        // An estimate that proved too low is no total.
        if self.total.is_some_and(|total| done > total) {
            self.total = None;
        }
        self.tick();
    }

    /// Lets the clock go on when nothing has changed.
    pub fn tick(&mut self) {
        let elapsed = self.started.elapsed().as_secs();
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
            bar.set_message(if self.done > 0 {
                self.unit.show(self.done, self.total)
            } else {
                String::new()
            });
            bar.tick();
        } else if self.printed.elapsed() >= PLAIN_INTERVAL {
            self.printed = Instant::now();
            if self.done > 0 {
                eprintln!("    {}, {elapsed} s", self.unit.show(self.done, self.total));
            } else {
                eprintln!("    still at it, {elapsed} s");
            }
        }
    }

    /// Ends the step.
    pub fn done(self) {
        self.done_with("");
    }

    /// Ends the step with a remark.
    pub fn done_with(mut self, remark: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        let remark = if remark.is_empty() {
            String::new()
        } else {
            format!(" ({remark})")
        };
        self.close(&format!("done in {seconds:.1} s{remark}"));
    }

    fn close(&mut self, result: &str) {
        self.finished = true;
        match self.bar.take() {
            Some(bar) => {
                bar.finish_and_clear();
                eprintln!("==> {}: {result}", self.title);
            }
            None => eprintln!("    {result}"),
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.finished {
            let seconds = self.started.elapsed().as_secs_f64();
            self.close(&format!("failed after {seconds:.1} s"));
        }
    }
}

fn bar(title: &str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "==> {prefix} [{bar:30}] {msg} {elapsed}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "==> {prefix} {spinner} {msg} {elapsed}",
        ),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(title.to_owned());
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_read_well() {
        assert_eq!(
            Unit::Bytes.show(12_000_000, Some(167_000_000)),
            "12 of 167 MB"
        );
        assert_eq!(
            Unit::Things("objects").show(7, Some(9)),
            "7 of about 9 objects"
        );
        assert_eq!(Unit::Things("objects").show(7, None), "7 objects");
    }
}
