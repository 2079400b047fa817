// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask fuzz`: looks for inputs that break something.

mod fuzzer;

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use crate::tally::Tally;
use anyhow::{Result, bail};
use fuzzer::{Fuzzer, TARGETS};
use luo_lab::interrupt;
use luo_lab::judge::Case;
use luo_lab::lab::Lab;

use crate::show;

/// Seconds of a target among all tests.
pub(crate) const SHORT: u32 = 6;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Targets; all if none is named
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TARGETS))]
    targets: Vec<String>,
    /// How long to look, for each target
    #[arg(long, default_value_t = 300)]
    seconds: u32,
    /// Run this input of one target, and look for nothing
    #[arg(long)]
    replay: Option<PathBuf>,
}

pub(crate) fn run(lab: &Lab, args: &Args) -> Result<bool> {
    if let Some(input) = &args.replay {
        let [target] = args.targets.as_slice() else {
            bail!("say of which target the input is: cargo xtask fuzz TARGET --replay FILE");
        };
        let fuzzer = Fuzzer::build(&lab.cache, &lab.repo)?;
        let ran = fuzzer.replay(target, input)?;
        let good = ran.is_ok();
        show::case(&Case::unless(
            format!("fuzz-{target}"),
            ran.err().map(|finding| finding.explain(target)),
        ));
        return Ok(good);
    }
    let named =
        |target: &&&str| args.targets.is_empty() || args.targets.iter().any(|t| t == **target);
    let fuzzer = Fuzzer::build(&lab.cache, &lab.repo)?;
    let mut tally = Tally::default();
    for target in TARGETS.iter().filter(named) {
        one(&fuzzer, target, args.seconds, &mut tally);
        interrupt::check()?;
    }
    show::line(&tally.summary());
    Ok(tally.is_good())
}

/// The part of `cargo xtask test`: `ended` hears of each target when it ran.
///
/// # Errors
/// A signal arrives.
pub(crate) fn part(
    lab: &Lab,
    wanted: &impl Fn(&str) -> bool,
    seconds: u32,
    mut ended: impl FnMut(&str, Instant, Tally),
) -> Result<()> {
    let wanted: Vec<_> = TARGETS
        .iter()
        .filter(|target| wanted(&name(target)))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let fuzzer = Fuzzer::build(&lab.cache, &lab.repo);
    let run = |target: &str| {
        let began = Instant::now();
        let mut tally = Tally::default();
        match &fuzzer {
            Ok(fuzzer) => one(fuzzer, target, seconds, &mut tally),
            Err(why) => failed(target, format!("{why:#}"), &mut tally),
        }
        (began, tally)
    };
    // Each keeps one processor busy.
    let side_by_side = thread::available_parallelism().map_or(1, usize::from);
    for targets in wanted.chunks(side_by_side) {
        let ran: Vec<_> = thread::scope(|scope| {
            let begun: Vec<_> = targets
                .iter()
                .map(|target| scope.spawn(|| run(target)))
                .collect();
            begun.into_iter().map(|run| run.join()).collect()
        });
        interrupt::check()?;
        for (target, ran) in targets.iter().zip(ran) {
            let (began, tally) = ran.unwrap_or_else(|panic| resume_unwind(panic));
            ended(&name(target), began, tally);
        }
    }
    Ok(())
}

/// The names of all targets among all tests.
pub(crate) fn names() -> impl Iterator<Item = String> {
    TARGETS.iter().map(|target| name(target))
}

fn name(target: &str) -> String {
    format!("fuzz-{target}")
}

fn one(fuzzer: &Fuzzer<'_>, target: &str, seconds: u32, tally: &mut Tally) {
    match fuzzer.run(target, seconds) {
        Ok(Ok(figures)) => {
            let name = name(target);
            show::line(&format!("ok      {name}: {figures}"));
            tally.add(Case::unless(name, None));
        }
        Ok(Err(finding)) => failed(target, finding.explain(target), tally),
        Err(why) => failed(target, format!("{why:#}"), tally),
    }
}

fn failed(target: &str, why: String, tally: &mut Tally) {
    let case = Case::failed(name(target), why);
    show::case(&case);
    tally.add(case);
}
