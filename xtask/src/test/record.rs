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
use super::slowest;
use crate::checks::Check;
use crate::show;

/// How many runs of a kind are kept.
const KEPT: usize = 2;

/// The unit of times in /proc, which is the same for all programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// How long a run from nothing may take, and one that finds all that it has left before.
const LONGEST_COLD: Duration = Duration::from_secs(35 * 60);
const LONGEST_WARM: Duration = Duration::from_secs(12 * 60);

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
        let (kind, longest) = match self.found {
            Found::Nothing => ("cold", LONGEST_COLD),
            Found::All => ("warm", LONGEST_WARM),
            Found::Some => {
                show::line(
                    "This run was neither cold nor warm, and is not recorded. It is warm if the same \
                     content has gone through the same command before, in this checkout; it is cold \
                     with an empty cache (LUO_CACHE) in a new checkout.",
                );
                return Ok(());
            }
        };
        let whole = age_of_this_process()?;
        let tests = Check::Tests.name();
        let tests = report.entries.iter().find(|entry| entry.name == tests);
        let cells = [
            kind.to_owned(),
            date()?,
            commit(&lab.repo)?,
            machine(),
            minutes(whole),
            minutes(report.took(Stage::Checks)),
            tests.map_or_else(|| "-".to_owned(), |entry| minutes(entry.took)),
            minutes(report.took(Stage::Fuzz)),
            minutes(report.took(Stage::Machines)),
            report.tally.summary() + &mark(report.tally.is_good(), whole, longest),
        ];
        let row = format!("| {} |", cells.join(" | "));
        let table = with_row(&Section::GATE.read(&lab.repo)?, kind, &row);
        Section::GATE.write(&lab.repo, &table)?;
        record_slowest(lab)?;
        show::line(&format!("{} has this run", Section::GATE.document()));
        Ok(())
    }
}

/// Names the tests that took longest, where nextest has run them.
fn record_slowest(lab: &Lab) -> Result<()> {
    let log = fs::read_to_string(lab.cache.log(Check::Tests.name())).unwrap_or_default();
    let Some(table) = slowest::table(&log) else {
        return Ok(());
    };
    let (date, commit) = (date()?, commit(&lab.repo)?);
    let text = format!("In the run of {date}, of commit {commit}:\n\n{table}");
    Section::SLOWEST.write(&lab.repo, &text)
}

/// What is wrong with a run, behind its result.
fn mark(is_good: bool, whole: Duration, longest: Duration) -> String {
    let failed = (!is_good).then(|| "**failed**".to_owned());
    let beyond = || format!("**beyond {} min**", longest.as_secs() / 60);
    let beyond = (whole > longest).then(beyond);
    let marks = failed.into_iter().chain(beyond);
    marks.map(|mark| format!(", {mark}")).collect()
}

/// The table with one row more, and of each kind the last ones only.
fn with_row(table: &str, kind: &str, row: &str) -> String {
    const HEAD: &str = "| | Date | Commit | Machine | Whole | Checks | Of them tests | Fuzz | Machines | Result |\n\
                        |---|---|---|---|--:|--:|--:|--:|--:|---|";
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
    fn a_run_that_failed_or_took_too_long_is_marked() {
        let (short, long) = (Duration::from_secs(719), Duration::from_secs(721));
        let mark = |is_good, whole| mark(is_good, whole, LONGEST_WARM);
        assert_eq!(mark(true, short), "");
        assert_eq!(mark(false, short), ", **failed**");
        assert_eq!(mark(true, long), ", **beyond 12 min**");
        assert_eq!(mark(false, long), ", **failed**, **beyond 12 min**");
    }

    #[test]
    fn a_process_has_an_age() {
        let stat = "7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 1050 20";
        assert_eq!(age(stat, "12.50 1.0"), Some(Duration::from_secs(2)));
        assert!(age_of_this_process().unwrap() < Duration::from_secs(3600));
    }
}
