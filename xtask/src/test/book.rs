// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of what has run, in docs/verification.md, and the sentences before it.

use std::path::PathBuf;

use anyhow::Result;
use luo_lab::lab::Lab;
use luo_lab::page::Section;

use super::entry::{Entry, minutes};
use super::facts::{commit, date, machine};
use super::sum::{self, Parts};

/// Writes down what has run, row by row, each as it ends: what takes hours may be cut off.
#[derive(Debug)]
pub(super) struct Book {
    repo: PathBuf,
    /// All that may have a row.
    parts: Parts,
    commit: String,
}

impl Book {
    /// For the runs of a checkout, as it is now.
    ///
    /// # Errors
    /// It has no commit.
    pub(super) fn of(lab: &Lab, parts: Parts) -> Result<Self> {
        Ok(Self {
            repo: lab.repo.clone(),
            parts,
            commit: commit(&lab.repo)?,
        })
    }

    /// Puts something that has run in place of its last run.
    ///
    /// # Errors
    /// The page cannot be written.
    pub(super) fn write(&self, entry: &Entry) -> Result<()> {
        let stage = entry.stage.title().to_owned();
        let (date, took) = (date()?, minutes(entry.took));
        let commit = self.commit.clone();
        let cells = [stage, date, commit, machine(), took, entry.result.clone()].join(" | ");
        let table = with_run(&Section::RUNS.read(&self.repo)?, &entry.name, &cells);
        Section::RUNS.write(&self.repo, &table)?;
        let text = sum::sum(&table, &self.parts, |commit| sum::age(&self.repo, commit));
        Section::RUNS_SUM.write(&self.repo, &text)
    }
}

/// The table with a row put in place of an earlier one of the same name.
fn with_run(table: &str, name: &str, cells: &str) -> String {
    const HEAD: &str =
        "| | Stage | Date | Commit | Machine | Took | Result |\n|---|---|---|---|---|--:|---|";
    let begin = format!("| {name} |");
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| |");
    let others = table.lines().filter(is_row);
    let mut rows: Vec<_> = others
        .filter(|line| !line.starts_with(&begin))
        .map(str::to_owned)
        .collect();
    rows.push(format!("{begin} {cells} |"));
    rows.sort();
    format!("{HEAD}\n{}", rows.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_run_has_one_row() {
        let mut table = "No run has been recorded.".to_owned();
        for (name, cells) in [("b", "1"), ("a", "2"), ("b", "3"), ("bb", "4")] {
            table = with_run(&table, name, cells);
        }
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(rows, ["| a | 2 |", "| b | 3 |", "| bb | 4 |"]);
    }
}
