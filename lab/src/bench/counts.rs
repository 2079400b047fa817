// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts of instructions that are agreed on. A kernel that takes more is a regression.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use luo_lab_protocol::{Event, Outcome};
use serde::{Deserialize, Serialize};

use crate::cache::write_whole;
use crate::judge::Case;
use crate::run::load::Load;
use crate::run::qemu::Recording;

/// Where they are, from the top of the repository.
const FILE: &str = "lab/golden/instructions.toml";

/// The command that makes them anew.
const RENEW: &str = "cargo xtask bench --write";

/// How much more a count may be than what is agreed on, in percent of it.
const TOLERANCE: u64 = 2;

/// Kernels without anything of ours.
const MAINLINES: [&str; 2] = ["bench-c", "c"];

/// The share up to which two runs of the same kernel may be apart by chance.
const NOISE: f64 = 0.01;

/// Counts of one run, by what was counted.
pub type Run = BTreeMap<String, u64>;

/// All that is agreed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The compilers of the kernels. Others make other code.
    compilers: String,
    /// Runs by kernel and load.
    kernels: BTreeMap<String, BTreeMap<String, Run>>,
}

impl Counts {
    /// Nothing is agreed on yet, of kernels of these compilers.
    #[must_use]
    pub fn new(compilers: String) -> Self {
        Self {
            compilers,
            kernels: BTreeMap::new(),
        }
    }

    /// Reads those of a checkout.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(repo: &Path) -> Result<Self> {
        let path = path(repo);
        let named = || format!("{} (`{RENEW}` makes it anew)", path.display());
        let text = fs::read_to_string(&path).with_context(named)?;
        toml::from_str(&text).with_context(named)
    }

    /// Writes them to a checkout.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, repo: &Path) -> Result<()> {
        let text = format!(
            "# SPDX-License-Identifier: MIT OR Apache-2.0\n#\n\
             # Instructions that calls take, by kernel and load. Written by `{RENEW}`, never by hand.\n\n{}",
            toml::to_string(self)?
        );
        write_whole(&path(repo), text.as_bytes())
    }

    /// What is agreed on of a kernel, by load.
    pub fn of_kernel(&self, kernel: &str) -> impl Iterator<Item = (&str, &Run)> {
        let loads = self.kernels.get(kernel).into_iter().flatten();
        loads.map(|(load, run)| (load.as_str(), run))
    }

    /// Agrees on what a run has counted.
    pub fn agree(&mut self, kernel: &str, load: &Load, run: Run) {
        let loads = self.kernels.entry(kernel.to_owned()).or_default();
        loads.insert(load.name.to_owned(), run);
    }

    /// By how much these counts are apart from those of another run, at most: a sentence for each
    /// kernel that both have counted. Of mainline's kernels it says what that means. Counts of
    /// other compilers are not compared.
    #[must_use]
    pub fn apart_from(&self, before: &Self) -> String {
        let mut text = String::new();
        if self.compilers != before.compilers {
            return text;
        }
        for (kernel, loads) in &self.kernels {
            let other = before.kernels.get(kernel);
            let rows = loads.iter().flat_map(|(load, run)| {
                let other = other.and_then(|loads| loads.get(load));
                let both = run.iter().filter_map(move |(row, &count)| {
                    Some((share(*other?.get(row)?, count), load, row))
                });
                both.collect::<Vec<_>>()
            });
            let largest = rows.max_by(|(one, ..), (two, ..)| one.abs().total_cmp(&two.abs()));
            if let Some((share, load, row)) = largest {
                let meaning = match MAINLINES.contains(&kernel.as_str()) {
                    false => "",
                    true if share.abs() <= NOISE => {
                        ": nothing of ours is in it, so two runs are that far apart by chance"
                    }
                    true => {
                        ": nothing of ours is in it, so its source, its configuration or the \
                         program that calls has changed"
                    }
                };
                text += &format!(
                    "- `{kernel}`: {:+.2} % at most ({row}, {load}){meaning}\n",
                    share * 100.0
                );
            }
        }
        text
    }

    /// A case for each count of a run of a kernel, compiled by `compilers`; their names
    /// begin with `prefix`.
    #[must_use]
    pub fn judge(
        &self,
        prefix: &str,
        kernel: &str,
        load: &Load,
        run: &Run,
        compilers: &str,
    ) -> Vec<Case> {
        let agreed = self
            .kernels
            .get(kernel)
            .and_then(|kernel| kernel.get(load.name));
        let none = Run::new();
        let agreed = agreed.unwrap_or(&none);
        let mut rows: Vec<_> = agreed.keys().chain(run.keys()).collect();
        rows.sort_unstable();
        rows.dedup();
        let case = |row: &String| {
            let name = format!("{prefix}::{row}");
            if self.compilers != compilers {
                let detail = format!(
                    "the counts are those of other compilers ({}), not of {compilers}",
                    self.compilers
                );
                let outcome = Outcome::Skipped;
                return Case {
                    name,
                    outcome,
                    detail,
                };
            }
            compare(name, agreed.get(row).copied(), run.get(row).copied())
        };
        rows.into_iter().map(case).collect()
    }
}

/// By which share of the first one the second one is more.
fn share(agreed: u64, counted: u64) -> f64 {
    counted as f64 / agreed as f64 - 1.0
}

fn compare(name: String, agreed: Option<u64>, counted: Option<u64>) -> Case {
    let (agreed, counted) = match (agreed, counted) {
        (Some(agreed), Some(counted)) => (agreed, counted),
        (Some(_), None) => return Case::failed(name, "it was not counted"),
        (None, _) => return Case::failed(name, format!("nothing is agreed on: `{RENEW}`")),
    };
    let detail = format!(
        "{counted} instructions, {:+.1} % against the {agreed} that are agreed on; \
         if it is meant to be so, `{RENEW}`",
        share(agreed, counted) * 100.0
    );
    let tolerance = agreed * TOLERANCE / 100;
    if counted > agreed + tolerance {
        return Case::failed(name, detail);
    }
    let mut case = Case::unless(name, None);
    if counted < agreed - tolerance {
        case.detail = detail;
    }
    case
}

fn path(repo: &Path) -> PathBuf {
    repo.join(FILE)
}

/// What a machine has counted.
#[must_use]
pub fn of(recording: &Recording) -> Run {
    let count = |event: &Event| match event {
        Event::Sample { metric, value, .. } => Some((metric.clone(), value.round() as u64)),
        _ => None,
    };
    let events = recording.events.iter();
    events.filter_map(|event| count(&event.what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::load::OF_THE_GATE;

    const COMPILERS: &str = "gcc 1; rustc 1";

    fn run(counts: &[(&str, u64)]) -> Run {
        let own = |&(row, count): &(&str, u64)| (row.to_owned(), count);
        counts.iter().map(own).collect()
    }

    fn agreed() -> Counts {
        let mut counts = Counts::new(COMPILERS.to_owned());
        counts.agree("c", OF_THE_GATE, run(&[("FINISH", 1000), ("open", 500)]));
        counts
    }

    fn failed(cases: &[Case]) -> Vec<&str> {
        let failed = cases.iter().filter(|case| case.outcome == Outcome::Failed);
        failed.map(|case| case.name.as_str()).collect()
    }

    #[test]
    fn more_than_is_agreed_on_is_a_failure() {
        let judge = |counts| agreed().judge("x", "c", OF_THE_GATE, &run(counts), COMPILERS);
        assert!(failed(&judge(&[("FINISH", 1020), ("open", 300)])).is_empty());
        let cases = judge(&[("FINISH", 1021), ("open", 500)]);
        assert_eq!(failed(&cases), ["x::FINISH"]);
        assert!(
            cases[0].detail.contains("1021 instructions, +2.1 %"),
            "{cases:?}"
        );
        assert_eq!(failed(&judge(&[("FINISH", 1000)])), ["x::open"]);
        let unknown = judge(&[("FINISH", 1000), ("open", 500), ("close", 1)]);
        assert_eq!(failed(&unknown), ["x::close"]);
    }

    #[test]
    fn nothing_agreed_on_is_a_failure() {
        let run = run(&[("open", 1)]);
        let cases = agreed().judge("x", "rust", OF_THE_GATE, &run, COMPILERS);
        assert_eq!(failed(&cases), ["x::open"]);
    }

    #[test]
    fn other_compilers_are_not_compared() {
        let run = run(&[("FINISH", 9000)]);
        let cases = agreed().judge("x", "c", OF_THE_GATE, &run, "gcc 2; rustc 1");
        assert!(cases.iter().all(|case| case.outcome == Outcome::Skipped));
        assert_eq!(cases.len(), 2);
    }

    #[test]
    fn the_largest_difference_between_two_runs_is_told() {
        let mut again = Counts::new(COMPILERS.to_owned());
        again.agree("c", OF_THE_GATE, run(&[("FINISH", 1001), ("open", 499)]));
        again.agree("rust", OF_THE_GATE, run(&[("open", 7)]));
        let load = OF_THE_GATE.name;
        let told = again.apart_from(&agreed());
        let begin =
            format!("- `c`: -0.20 % at most (open, {load}): nothing of ours is in it, so two runs");
        assert!(
            told.starts_with(&begin) && told.lines().count() == 1,
            "{told}"
        );
        again.agree("c", OF_THE_GATE, run(&[("FINISH", 1021), ("open", 499)]));
        let told = again.apart_from(&agreed());
        let begin = format!(
            "- `c`: +2.10 % at most (FINISH, {load}): nothing of ours is in it, so its source"
        );
        assert!(told.starts_with(&begin), "{told}");
        assert_eq!(again.apart_from(&Counts::new("gcc 2".to_owned())), "");
    }

    #[test]
    fn counts_survive_the_file() {
        let repo = tempfile::tempdir().unwrap();
        fs::create_dir_all(path(repo.path()).parent().unwrap()).unwrap();
        agreed().write(repo.path()).unwrap();
        assert_eq!(Counts::read(repo.path()).unwrap(), agreed());
    }
}
