// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a run has come to: cases, and what each part took.

use std::time::{Duration, Instant};

use luo_lab::judge::Case;

use crate::show;
use crate::tally::Tally;

/// The parts of a run, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Cargo's: formats, lints, tests.
    Checks,
    /// Fuzz targets.
    Fuzz,
    /// Scenarios in virtual machines, and whatever has to be built for them and was not
    /// yet.
    Machines,
    /// Measurements.
    Benchmarks,
}

impl Stage {
    pub(super) const ALL: [Self; 4] = [Self::Checks, Self::Fuzz, Self::Machines, Self::Benchmarks];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Checks => "Checks",
            Self::Fuzz => "Fuzz",
            Self::Machines => "Machines",
            Self::Benchmarks => "Benchmarks",
        }
    }
}

/// Something with a name that has run.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) stage: Stage,
    pub(super) name: String,
    pub(super) took: Duration,
    /// How it went, in a few words.
    pub(super) result: String,
}

/// All of a run.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) tally: Tally,
    pub(super) entries: Vec<Entry>,
    /// What each stage took from its begin to its end.
    pub(super) stages: Vec<(Stage, Duration)>,
}

impl Report {
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
        self.entries.push(Entry {
            stage,
            name: name.to_owned(),
            took,
            result,
        });
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

/// A time as `3 min 05 s`.
pub(super) fn minutes(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds:02} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        let shown = |seconds| minutes(Duration::from_millis(seconds));
        assert_eq!(shown(59_400), "59 s");
        assert_eq!(shown(59_600), "1 min 00 s");
        assert_eq!(shown(725_000), "12 min 05 s");
    }

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
