// SPDX-License-Identifier: MIT OR Apache-2.0
//! What only `cargo xtask test --all` runs. Scenarios of that kind say so in their table
//! ([`luo_lab::run::scenario::When::All`]); kernels that only they boot come with them.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use luo_lab::interrupt;
use luo_lab::judge::Case;
use luo_lab::lab::Lab;

use super::entry::Stage;
use super::report::Report;
use super::{models, newcomer, packages};
use crate::show;
use crate::tally::Tally;

/// Seconds of each fuzz target.
pub(super) const FUZZ_SECONDS: u32 = 30 * 60;

/// Measurements that fail if a promise is broken, and what the README begins with: a name, and the
/// arguments of `cargo xtask`.
const COMMANDS: &[(&str, &[&str])] = &[
    ("bench", &["bench"]),
    ("bench-agent", &["bench-agent"]),
    ("readme-demo", &["demo"]),
    ("readme-demo-kexec", &["demo", "--kexec"]),
    ("readme-demo-vm", &["demo", "--vm"]),
];

/// This very program, which is found here even if cargo has built it anew meanwhile.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// The names of what is here.
pub(super) fn names() -> Vec<&'static str> {
    let by_hand = [newcomer::NAME, packages::NAME, models::NAME];
    let commands = COMMANDS.iter().map(|(name, _)| *name);
    by_hand.into_iter().chain(commands).collect()
}

/// Measures, builds and shows, each as one would by hand.
///
/// # Errors
/// A signal arrives, or a command cannot be started.
pub(super) fn benchmarks(
    lab: &Lab,
    wanted: &impl Fn(&str) -> bool,
    report: &mut Report,
) -> Result<()> {
    type Run = fn(&Lab) -> Result<()>;
    let by_hand: [(&str, &str, Run); 3] = [
        (newcomer::NAME, newcomer::TITLE, |lab| {
            newcomer::walks(&lab.repo)
        }),
        (packages::NAME, packages::TITLE, packages::are_built),
        (models::NAME, models::TITLE, models::are_explored),
    ];
    for (name, title, run) in by_hand.into_iter().filter(|(name, ..)| wanted(name)) {
        show::line(&format!("\n==> {title}"));
        let began = Instant::now();
        let complaint = run(lab).err().map(|why| format!("{why:#}"));
        interrupt::check()?;
        one(name, began, complaint, report);
    }
    for (name, arguments) in COMMANDS.iter().filter(|(name, _)| wanted(name)) {
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
