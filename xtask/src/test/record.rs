// SPDX-License-Identifier: MIT OR Apache-2.0
//! docs/verification.md: what whole runs have taken and come to.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use luo_lab::build::guest;
use luo_lab::cache::{Key, write_whole};
use luo_lab::lab::Lab;
use luo_lab::page::Section;

use super::entry::{Stage, minutes};
use super::facts::{commit, date, git, machine};
use super::report::Report;
use crate::show;

/// How many runs of a kind are kept.
const KEPT: usize = 2;

/// The unit of times in /proc, which is the same for all programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a run found at its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Neither kernels nor compiled programs.
    Nothing,
    /// All that the same content had left.
    All,
    /// Something between.
    Some,
}

/// A whole run of a checkout.
pub(super) struct Run {
    found: Found,
    /// A hash over what is tested; nothing outside of a repository.
    content: Option<String>,
    /// The file that says which content went through here last.
    stamp: PathBuf,
}

/// Whether tests have been compiled there: cargo builds examples with them only.
fn has_tests(target: &Path) -> bool {
    let examples = fs::read_dir(target.join("debug/examples"));
    examples.is_ok_and(|mut all| all.next().is_some())
}

impl Run {
    /// Looks at what is there, before anything is built.
    ///
    /// # Errors
    /// Cargo does not know its own folder.
    pub(super) fn begin(lab: &Lab) -> Result<Self> {
        let target = guest::target_directory(&lab.repo)?;
        let stamp = target.join("luo-gate");
        let content = content(&lab.repo);
        let passed = fs::read_to_string(&stamp).ok();
        let found = if content.is_some() && passed == content {
            Found::All
        } else if target.join("guest").exists()
            || lab.cache.path("images").exists()
            || has_tests(&target)
        {
            Found::Some
        } else {
            Found::Nothing
        };
        Ok(Self {
            found,
            content,
            stamp,
        })
    }

    /// Remembers that all of it went through here.
    ///
    /// # Errors
    /// The stamp cannot be written.
    pub(super) fn end(&self) -> Result<()> {
        match &self.content {
            Some(content) => write_whole(&self.stamp, content.as_bytes()),
            None => Ok(()),
        }
    }

    /// Adds this run to the gate's table.
    ///
    /// # Errors
    /// The page cannot be written.
    pub(super) fn record_gate(&self, lab: &Lab, report: &Report) -> Result<()> {
        let kind = match self.found {
            Found::Nothing => "cold",
            Found::All => "warm",
            Found::Some => {
                show::line(
                    "This run was neither cold nor warm, and is not recorded. It is warm if the same \
                     content has gone through the same command before, in this checkout; it is cold \
                     with an empty cache (LUO_CACHE) in a new checkout.",
                );
                return Ok(());
            }
        };
        let cells = [
            kind.to_owned(),
            date()?,
            commit(&lab.repo)?,
            machine(),
            minutes(age_of_this_process()?),
            minutes(report.took(Stage::Checks)),
            minutes(report.took(Stage::Fuzz)),
            minutes(report.took(Stage::Machines)),
            report.tally.summary(),
        ];
        let row = format!("| {} |", cells.join(" | "));
        let table = with_row(&Section::GATE.read(&lab.repo)?, kind, &row);
        Section::GATE.write(&lab.repo, &table)?;
        show::line(&format!("{} has this run", Section::GATE.document()));
        Ok(())
    }
}

/// The table with one row more, and of each kind the last ones only.
fn with_row(table: &str, kind: &str, row: &str) -> String {
    const HEAD: &str = "| | Date | Commit | Machine | Whole | Checks | Fuzz | Machines | Result |\n\
                        |---|---|---|---|--:|--:|--:|--:|---|";
    let of = |kind: &str| {
        let begin = format!("| {kind} |");
        move |line: &&str| line.starts_with(&begin)
    };
    let mut text = HEAD.to_owned();
    for known in ["cold", "warm"] {
        let mut rows: Vec<&str> = table.lines().filter(of(known)).collect();
        if known == kind {
            rows.push(row);
        }
        for row in rows.iter().skip(rows.len().saturating_sub(KEPT)) {
            text += &format!("\n{row}");
        }
    }
    text
}

/// A hash over all files that git knows, the page that runs write to left out.
fn content(repo: &Path) -> Option<String> {
    let without_page = format!(":!{}", Section::GATE.document());
    let mut key = Key::default();
    for arguments in [&["ls-files", "-s"][..], &["diff", "--no-ext-diff"]] {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--", ".", &without_page]);
        key = key.add(arguments[0], git(repo, &arguments).ok()?);
    }
    Some(key.short())
}

/// How long ago this process began. It has been cargo before, which compiled it.
fn age_of_this_process() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    let uptime = fs::read_to_string("/proc/uptime").context("/proc/uptime")?;
    age(&stat, &uptime).context("/proc does not say when this process began")
}

fn age(stat: &str, uptime: &str) -> Option<Duration> {
    // The name, in brackets, may have blanks in it. The 22nd field is the begin.
    let (_, rest) = stat.rsplit_once(')')?;
    let began: f64 = rest.split_whitespace().nth(19)?.parse().ok()?;
    let now: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(now - began / TICKS_PER_SECOND).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_each_kind_are_kept() {
        let mut table = "No run has been recorded.".to_owned();
        for (kind, row) in [
            ("warm", "| warm | 1 |"),
            ("cold", "| cold | 2 |"),
            ("warm", "| warm | 3 |"),
            ("warm", "| warm | 4 |"),
        ] {
            table = with_row(&table, kind, row);
        }
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(rows, ["| cold | 2 |", "| warm | 3 |", "| warm | 4 |"]);
    }

    #[test]
    fn a_process_has_an_age() {
        let stat = "7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 1050 20";
        assert_eq!(age(stat, "12.50 1.0"), Some(Duration::from_secs(2)));
        assert!(age_of_this_process().unwrap() < Duration::from_secs(3600));
    }
}
