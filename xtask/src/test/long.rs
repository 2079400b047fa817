// SPDX-License-Identifier: MIT OR Apache-2.0
//! What only `cargo xtask test --all` runs. Scenarios of that kind say so in their table
//! ([`luo_lab::run::scenario::When::All`]); kernels that only they boot come with them.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use luo_lab::interrupt;
use luo_lab::judge::Case;

use super::entry::Stage;
use super::newcomer;
use super::report::Report;
use crate::show;
use crate::tally::Tally;

/// Seconds of each fuzz target.
pub(super) const FUZZ_SECONDS: u32 = 30 * 60;

/// Measurements that fail if a promise is broken: a name, and the arguments of
/// `cargo xtask`.
const BENCHMARKS: &[(&str, &[&str])] = &[("bench", &["bench"]), ("bench-agent", &["bench-agent"])];

/// This very program, which is found here even if cargo has built it anew meanwhile.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Measures, each as one would by hand.
///
/// # Errors
/// A signal arrives, or a command cannot be started.
pub(super) fn benchmarks(
    repo: &Path,
    wanted: &impl Fn(&str) -> bool,
    report: &mut Report,
) -> Result<()> {
    if wanted(newcomer::NAME) {
        show::line("\n==> docs/walkthrough.md, from the clone to the picture");
        let began = Instant::now();
        let complaint = newcomer::walks(repo).err().map(|why| format!("{why:#}"));
        interrupt::check()?;
        one(newcomer::NAME, began, complaint, report);
    }
    for (name, arguments) in BENCHMARKS.iter().filter(|(name, _)| wanted(name)) {
        show::line(&format!("\n==> cargo xtask {}", arguments.join(" ")));
        let began = Instant::now();
        let status = Command::new(OWN_PROGRAM).args(*arguments).status();
        let status = status.context(OWN_PROGRAM)?;
        interrupt::check()?;
        let complaint = (!status.success()).then(|| format!("it ended with {status}, see above"));
        one(name, began, complaint, report);
    }
    Ok(())
}

/// Tells of something that is one case.
fn one(name: &str, began: Instant, complaint: Option<String>, report: &mut Report) {
    let mut counted = Tally::default();
    counted.add(Case::unless(name.to_owned(), complaint));
    report.entry(Stage::Benchmarks, name, began, counted);
}
