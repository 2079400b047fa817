// SPDX-License-Identifier: MIT OR Apache-2.0
//! The demonstration under the simulator.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::{programs, show};

/// The programs it takes.
const PACKAGES: [&str; 2] = ["luo-sim", "luo-demo"];

/// What is shown of the time: from one mark to another.
const SPANS: &[(&str, &str, &str)] = &[
    ("preserve", "preserve_begin", "preserve_end"),
    ("simulated kexec", "reboot_called", "retrieve_begin"),
    ("retrieve", "retrieve_begin", "retrieve_end"),
    (
        "first request served",
        "retrieve_end",
        "first_request_served",
    ),
    ("every byte verified", "first_request_served", "verified"),
];

pub(super) fn run() -> Result<bool> {
    let folder = programs::build(&PACKAGES)?;
    show::line("==> luo-sim run --boots 2 -- luo-demo");
    let mut child = Command::new(folder.join("luo-sim"))
        .args(["run", "--boots", "2", "--"])
        .arg(folder.join("luo-demo"))
        .stdout(Stdio::piped())
        .spawn()
        .context("luo-sim")?;
    let output = child.stdout.take().context("no output of luo-sim")?;
    let mut marks = BTreeMap::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        match mark(&line) {
            Some((name, at)) => {
                marks.insert(name.to_owned(), at);
            }
            None => show::line(&line),
        }
    }
    let status = child.wait()?;
    let story = story(status.success(), &marks);
    show::line(&format!("\n{}", timeline(&marks)));
    show::line(&story.text);
    Ok(story.good)
}

/// A line `mark NAME SECONDS`.
fn mark(line: &str) -> Option<(&str, f64)> {
    let (name, at) = line.strip_prefix("mark ")?.split_once(' ')?;
    Some((name, at.parse().ok()?))
}

fn span(marks: &BTreeMap<String, f64>, from: &str, to: &str) -> Option<f64> {
    Some((marks.get(to)? - marks.get(from)?) * 1000.0)
}

fn timeline(marks: &BTreeMap<String, f64>) -> String {
    let mut text = String::from("Timeline:\n");
    for (what, from, to) in SPANS {
        if let Some(took) = span(marks, from, to) {
            text += &format!("  {what:<24} {took:>10.1} ms\n");
        }
    }
    text
}

struct Story {
    good: bool,
    text: String,
}

fn story(ended_well: bool, marks: &BTreeMap<String, f64>) -> Story {
    match span(marks, "last_write", "first_request_served") {
        Some(away) if ended_well => Story {
            good: true,
            text: format!(
                "The service went through a simulated kexec with its memory intact and was away \
                 for {away:.1} ms.\nThis was the simulator: the engine is the kernel's, the kernel \
                 is not. `cargo xtask demo --kexec` does it in a real one."
            ),
        },
        _ => Story {
            good: false,
            text: "The demo failed: see above.".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_told_from_sentences() {
        assert_eq!(mark("mark last_write 12.5"), Some(("last_write", 12.5)));
        assert_eq!(mark("mark my words"), None);
        assert_eq!(mark("verified: all"), None);
    }

    #[test]
    fn a_failure_is_never_told_as_a_success() {
        let mut marks = BTreeMap::new();
        assert!(!story(true, &marks).good);
        marks.insert("last_write".to_owned(), 1.0);
        marks.insert("first_request_served".to_owned(), 1.25);
        assert!(!story(false, &marks).good);
        let story = story(true, &marks);
        assert!(story.good && story.text.contains("250.0 ms"));
    }
}
