// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a run has come to: cases, and what each part took.

use std::time::{Duration, Instant};

use luo_lab::judge::Case;

use super::book::Book;
use super::entry::{Entry, Stage, minutes};
use crate::show;
use crate::tally::Tally;

/// All of a run.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Where what has run is written down at once.
    book: Option<Book>,
    pub(super) tally: Tally,
    pub(super) entries: Vec<Entry>,
    /// What each stage took from its begin to its end.
    pub(super) stages: Vec<(Stage, Duration)>,
}

impl Report {
    /// Of which each entry is written down.
    pub(super) fn in_book(book: Book) -> Self {
        Self {
            book: Some(book),
            ..Self::default()
        }
    }

    /// Shows a case and counts it.
    pub(super) fn case(&mut self, case: Case) {
        show::case(&case);
        self.tally.add(case);
    }

    /// Shows how something went as a whole, and counts its cases.
    pub(super) fn entry(&mut self, stage: Stage, name: &str, began: Instant, counted: Tally) {
        let verdict = if counted.failures.is_empty() {
            "ok     "
        } else {
            "FAILED "
        };
        let result = counted.summary();
        show::line(&format!("{verdict} {name}: {result}"));
        self.remember(stage, name, began.elapsed(), result);
        self.tally.merge(counted);
    }

    /// Remembers what something took.
    pub(super) fn remember(&mut self, stage: Stage, name: &str, took: Duration, result: String) {
        let entry = Entry {
            stage,
            name: name.to_owned(),
            took,
            result,
        };
        if let Some(Err(error)) = self.book.as_ref().map(|book| book.write(&entry)) {
            show::line(&format!("WARNING: {name} is not written down: {error:#}"));
        }
        self.entries.push(entry);
    }

    /// Runs a stage.
    ///
    /// # Errors
    /// Those of `body`.
    pub(super) fn stage<T>(
        &mut self,
        stage: Stage,
        body: impl FnOnce(&mut Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let began = Instant::now();
        let done = body(self)?;
        self.stages.push((stage, began.elapsed()));
        Ok(done)
    }

    /// What a stage took.
    pub(super) fn took(&self, stage: Stage) -> Duration {
        let of = |&(known, took): &(Stage, Duration)| (known == stage).then_some(took);
        self.stages.iter().filter_map(of).sum()
    }

    /// The closing words.
    pub(super) fn close(&self) {
        if !self.tally.failures.is_empty() {
            show::line("\nFailures:");
            for case in &self.tally.failures {
                show::case(case);
            }
        }
        show::line("");
        for stage in Stage::ALL {
            if self.entries.iter().any(|entry| entry.stage == stage) {
                let took = minutes(self.took(stage));
                show::line(&format!("{:12} {took}", stage.title()));
            }
        }
        show::line(&self.tally.summary());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_may_come_twice() {
        let mut report = Report::default();
        for _ in 0..2 {
            report.stage(Stage::Fuzz, |_| Ok(())).unwrap();
        }
        let both: Duration = report.stages.iter().map(|(_, took)| *took).sum();
        assert_eq!(report.took(Stage::Fuzz), both);
        assert_eq!(report.took(Stage::Checks), Duration::ZERO);
    }
}
