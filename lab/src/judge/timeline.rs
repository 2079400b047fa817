// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long a service was away during an update, and where the time went.

use std::fmt::Write as _;
use std::time::Duration;

use luo_lab_protocol::{Event, guest_mark};
use regex_lite::Regex;

use crate::run::qemu::Recording;

/// Steps of the demo: the mark that begins it, the mark that ends it, words.
const STEPS: &[(&str, &str, &str)] = &[
    ("preserve_begin", "preserve_end", "preserve"),
    ("reboot_called", "init_started", "kexec to init"),
    ("retrieve_begin", "retrieve_end", "retrieve"),
    (
        "retrieve_end",
        "first_request_served",
        "first request served",
    ),
    ("retrieve_end", "verified", "every byte verified"),
];

/// The stretches of the blackout, which follow one another without a gap.
const BLACKOUT: &[&str] = &[
    "last_write",
    "reboot_called",
    "init_started",
    "retrieve_end",
    "first_request_served",
];

/// Points in time by name, since power-on.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    marks: Vec<(String, Duration)>,
    frozen: Option<Duration>,
}

impl Timeline {
    /// Reads the marks and the kernel's own word on its freeze.
    #[must_use]
    pub fn of(recording: &Recording) -> Self {
        let marks = recording
            .events
            .iter()
            .filter_map(|event| match &event.what {
                Event::Mark { name } => Some((name.clone(), event.at)),
                _ => None,
            });
        Self {
            marks: marks.collect(),
            frozen: recording.console_lines().find_map(frozen),
        }
    }

    fn at(&self, name: &str) -> Option<Duration> {
        self.marks
            .iter()
            .find(|(mark, _)| mark == name)
            .map(|(_, at)| *at)
    }

    fn between(&self, from: &str, to: &str) -> Option<Duration> {
        self.at(to)?.checked_sub(self.at(from)?)
    }

    /// From the last write of the old kernel to the first answer of the new.
    #[must_use]
    pub fn blackout(&self) -> Option<Duration> {
        self.between(BLACKOUT.first()?, BLACKOUT.last()?)
    }

    /// The guests that have stopped, and for each the time from the moment when its state was written to the
    /// one when it ran again.
    #[must_use]
    pub fn of_guests(&self) -> Vec<(&str, Option<Duration>)> {
        let names = self.marks.iter();
        let names = names.filter_map(|(mark, _)| mark.strip_prefix(guest_mark::STOPPED));
        let stood = names.map(|name| {
            let [from, to] =
                [guest_mark::STOPPED, guest_mark::RUNS].map(|mark| mark.to_owned() + name);
            (name, self.between(&from, &to))
        });
        stood.collect()
    }

    /// From the jump to the first program of the next kernel.
    #[must_use]
    pub fn kexec_to_init(&self) -> Option<Duration> {
        self.between("reboot_called", "init_started")
    }

    /// The timeline as a person reads it.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::from("Timeline (host clock, software emulation):\n");
        let mut line = |what: &str, time: Option<Duration>| {
            let time = time.map_or("not measured".to_owned(), |time| {
                format!("{:9.1} ms", milliseconds(time))
            });
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {what:24} {time:>12}");
        };
        for (index, (from, to, words)) in STEPS.iter().enumerate() {
            line(words, self.between(from, to));
            if index == 0 {
                line("freeze", self.frozen);
            }
        }
        line("blackout", self.blackout());
        let stretches: Vec<_> = BLACKOUT
            .windows(2)
            .filter_map(|pair| {
                let time = self.between(pair[0], pair[1])?;
                Some(format!(
                    "{:.1} ({} to {})",
                    milliseconds(time),
                    words(pair[0]),
                    words(pair[1])
                ))
            })
            .collect();
        if stretches.len() == BLACKOUT.len() - 1 {
            let _ = writeln!(text, "  blackout = {}", stretches.join(" + "));
        }
        text
    }
}

/// `luo: freeze: prepared -> frozen, 3 sessions, 12 files, 0 subsystems in 345 us` says
/// 345 µs; so does a reboot that freezes.
fn frozen(line: &str) -> Option<Duration> {
    let pattern = Regex::new(r"luo: (?:reboot|freeze): .* -> frozen, .* in (\d+) us").ok()?;
    let microseconds = pattern.captures(line)?.get(1)?.as_str().parse().ok()?;
    Some(Duration::from_micros(microseconds))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn words(mark: &str) -> String {
    mark.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(marks: &[(&str, u64)]) -> Timeline {
        let marks = marks
            .iter()
            .map(|&(name, at)| (name.to_owned(), Duration::from_millis(at)))
            .collect();
        Timeline {
            marks,
            frozen: frozen(
                "[ 1.0] luo: reboot: normal -> frozen, 1 session, 2 files, 0 subsystems in 345 us",
            ),
        }
    }

    #[test]
    fn the_blackout_is_the_sum_of_its_stretches() {
        let timeline = timeline(&[
            ("preserve_begin", 1000),
            ("preserve_end", 1010),
            ("last_write", 1020),
            ("reboot_called", 1025),
            ("init_started", 2300),
            ("retrieve_begin", 2310),
            ("retrieve_end", 2330),
            ("verified", 2400),
            ("first_request_served", 2420),
        ]);
        assert_eq!(timeline.blackout(), Some(Duration::from_millis(1400)));
        let text = timeline.render();
        assert!(
            text.contains("preserve                      10.0 ms"),
            "{text}"
        );
        assert!(
            text.contains("freeze                         0.3 ms"),
            "{text}"
        );
        assert!(
            text.contains("blackout = 5.0 (last write to reboot called) + 1275.0"),
            "{text}"
        );
    }

    #[test]
    fn each_guest_has_a_gap_of_its_own() {
        let timeline = timeline(&[
            ("stopped one", 10),
            ("stopped other", 20),
            ("runs other", 320),
            ("runs third", 400),
        ]);
        let other = Some(Duration::from_millis(300));
        assert_eq!(timeline.of_guests(), [("one", None), ("other", other)]);
    }

    #[test]
    fn a_missing_mark_is_said_and_not_invented() {
        let timeline = timeline(&[("preserve_begin", 5)]);
        assert_eq!(timeline.blackout(), None);
        assert!(timeline.render().contains("not measured"));
    }
}
