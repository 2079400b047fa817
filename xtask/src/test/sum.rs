// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the rows of docs/verification.md come to: how many parts of `cargo xtask test --all` have
//! run, which have failed, which have no row, and how old the oldest row is.

use std::collections::BTreeSet;
use std::path::Path;

use super::facts::git;

/// The parts of `--all`.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The gate runs them, too.
    pub(super) of_the_gate: BTreeSet<String>,
    /// Only `--all` runs them, or runs them for so long.
    pub(super) of_all: BTreeSet<String>,
}

impl Parts {
    fn has(&self, name: &str) -> bool {
        self.of_the_gate.contains(name) || self.of_all.contains(name)
    }
}

/// A row of the table.
#[derive(Debug)]
struct Row<'a> {
    name: &'a str,
    date: &'a str,
    commit: &'a str,
    result: &'a str,
}

impl<'a> Row<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let line = line.strip_prefix("| ")?.strip_suffix(" |")?;
        let cells: Vec<_> = line.splitn(7, " | ").collect();
        match *cells {
            [name, _, date, commit, _, _, result] if !name.starts_with('|') => Some(Self {
                name,
                date,
                commit: commit.split(' ').next().unwrap_or_default(),
                result,
            }),
            _ => None,
        }
    }

    fn has_failed(&self) -> bool {
        !self.result.contains(" 0 failed")
    }
}

/// Names, for a sentence.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names = names.into_iter().map(|name| format!("`{name}`"));
    names.collect::<Vec<_>>().join(", ")
}

/// How many have passed, and which have failed.
fn have_run(rows: &[Row<'_>]) -> String {
    let failed: Vec<_> = rows.iter().filter(|row| row.has_failed()).collect();
    let passed = rows.len() - failed.len();
    let mut text = format!(
        "{} parts have a row: {passed} have passed, {} failed",
        rows.len(),
        failed.len()
    );
    if !failed.is_empty() {
        text += &format!(" ({})", listed(failed.iter().map(|row| row.name)));
    }
    text + "."
}

/// The oldest of them: `age` says how many commits have come since one.
fn oldest(rows: &[Row<'_>], age: impl Fn(&str) -> Option<u64>) -> String {
    // A commit that nobody knows any more is older than any.
    let by_age = |row: &&Row<'_>| age(row.commit).unwrap_or(u64::MAX);
    let oldest = rows.iter().max_by_key(by_age);
    oldest.map_or_else(String::new, |row| {
        let since = match age(row.commit) {
            Some(commits) => format!(", {commits} commits ago"),
            None => ", which is not in this history".to_owned(),
        };
        let (name, commit, date) = (row.name, row.commit, row.date);
        format!(" The oldest is `{name}`, of commit {commit} ({date}{since}).")
    })
}

/// Which parts have none.
fn missing(rows: &[Row<'_>], parts: &Parts) -> String {
    let lack = |names: &BTreeSet<String>| {
        let known = |name: &&String| !rows.iter().any(|row| row.name == name.as_str());
        names.iter().filter(known).cloned().collect::<Vec<_>>()
    };
    let (gate, all) = (lack(&parts.of_the_gate), lack(&parts.of_all));
    let mut text = String::new();
    if !gate.is_empty() {
        text += &format!(" {} that the gate runs, too, have none here.", gate.len());
    }
    if !all.is_empty() {
        let names = listed(all.iter().map(String::as_str));
        text += &format!(
            " Nor have {} that only `--all` runs whole: {names}.",
            all.len()
        );
    }
    text
}

/// The sentences about a table.
pub(super) fn sum(table: &str, parts: &Parts, age: impl Fn(&str) -> Option<u64>) -> String {
    let rows: Vec<_> = table.lines().filter_map(Row::of).collect();
    let rows: Vec<_> = rows.into_iter().filter(|row| parts.has(row.name)).collect();
    have_run(&rows) + &oldest(&rows, age) + &missing(&rows, parts)
}

/// How many commits of a checkout's history have come since one, if it is in that.
pub(super) fn age(repo: &Path, commit: &str) -> Option<u64> {
    let is_there = git(repo, &["merge-base", "--is-ancestor", commit, "HEAD"]);
    is_there.ok()?;
    let count = git(repo, &["rev-list", "--count", &format!("{commit}..HEAD")]);
    count.ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use luo_lab::page::Section;

    use super::*;
    use crate::test::parts;

    fn made_up(gate: &[&str], all: &[&str]) -> Parts {
        let of = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Parts {
            of_the_gate: of(gate),
            of_all: of(all),
        }
    }

    #[test]
    fn a_table_is_summed_up() {
        let table = "| | Stage | Date | Commit | Machine | Took | Result |\n|---|---|---|---|---|--:|---|\n\
                     | a | Machines | 2026-01-02 | c2 with changes | m | 1 s | 3 passed, 0 failed, 0 skipped |\n\
                     | b | Machines | 2026-01-01 | c1 | m | 1 s | 3 passed, 10 failed, 0 skipped; x at 1 | 2 |\n\
                     | gone | Machines | 2025-01-01 | c0 | m | 1 s | 3 passed, 0 failed, 0 skipped |";
        let age = |commit: &str| {
            (commit == "c1")
                .then_some(7)
                .or((commit == "c2").then_some(3))
        };
        let text = sum(table, &made_up(&["a", "d"], &["b", "e", "f"]), age);
        let expected = "2 parts have a row: 1 have passed, 1 failed (`b`). The oldest is `b`, of commit \
                        c1 (2026-01-01, 7 commits ago). 1 that the gate runs, too, have none here. Nor \
                        have 2 that only `--all` runs whole: `e`, `f`.";
        assert_eq!(text, expected);
        let text = sum("", &made_up(&[], &[]), age);
        assert_eq!(text, "0 parts have a row: 0 have passed, 0 failed.");
    }

    /// Which rows there are, and which of them have failed, changes by the command only.
    #[test]
    fn the_page_says_what_its_table_comes_to() {
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let table = Section::RUNS.read(&repo).unwrap();
        let parts = parts::all();
        assert!(parts.of_the_gate.len() > 20 && parts.of_all.len() > 20);
        if std::env::var_os("LUO_UPDATE").is_some() {
            let text = sum(&table, &parts, |commit| age(&repo, commit));
            Section::RUNS_SUM.write(&repo, &text).unwrap();
        }
        let text = Section::RUNS_SUM.read(&repo).unwrap();
        let rows: Vec<_> = table.lines().filter_map(Row::of).collect();
        let rows: Vec<_> = rows.into_iter().filter(|row| parts.has(row.name)).collect();
        let due = have_run(&rows);
        assert!(
            text.starts_with(&due),
            "docs/verification.md is out of step: `LUO_UPDATE=1 cargo test -p xtask the_page_says`"
        );
    }
}
