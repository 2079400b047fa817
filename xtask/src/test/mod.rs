// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask test`: everything that can be checked, and one closing line.

mod book;
mod entry;
mod facts;
mod kernels;
mod long;
mod machines;
mod models;
mod newcomer;
mod packages;
mod parts;
mod record;
mod report;
mod slowest;
mod sum;

use std::time::Instant;

use anyhow::Result;
use luo_lab::interrupt;
use luo_lab::judge::Case;
use luo_lab::lab::Lab;
use luo_lab::room::Needs;
use luo_lab::run::scenario::{Scenario, When};
use luo_lab::run::{checked, scenarios};
use luo_lab_protocol::Outcome;

use crate::checks::{self, Check};
use crate::{fuzz, show};
use book::Book;
use entry::Stage;
use kernels::Beside;
use report::Report;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many kexecs in a row the scenario `chain` does
    #[arg(long, default_value_t = scenarios::KEXECS)]
    kexecs: u32,
    /// Leave the virtual machines out, and count them as skipped
    #[arg(long)]
    no_vm: bool,
    /// How many virtual machines run at once
    #[arg(long, default_value_t = machines::default_jobs(), value_parser = jobs)]
    jobs: usize,
    /// What takes hours, too: long chains, half an hour of each fuzz target, benchmarks,
    /// kernels with checkers; what has run is written to docs/verification.md as it ends
    #[arg(long)]
    all: bool,
    /// Add what this run takes to docs/verification.md
    #[arg(long, conflicts_with_all = ["all", "no_vm", "kexecs", "filter"])]
    record: bool,
    /// Only kernels with checkers, machines of other sizes, updates with a large file, guests
    /// with something killed, systemd's descriptor stores and the hostile client; what has run is written to docs/verification.md as it ends
    #[arg(long, conflicts_with_all = ["all", "no_vm", "kexecs", "record"])]
    checkers: bool,
    /// Only checks and scenarios whose name contains one of these, or is it, behind a `=`
    filter: Vec<String>,
}

fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number from 1 on is expected".to_owned()),
        Ok(jobs) => Ok(jobs),
    }
}

impl Args {
    fn wants(&self, name: &str) -> bool {
        let is_it = |filter: &String| match filter.strip_prefix('=') {
            Some(whole) => name == whole,
            None => name.contains(filter.as_str()),
        };
        self.filter.is_empty() || self.filter.iter().any(is_it)
    }

    fn scenarios(&self) -> Vec<Scenario> {
        let in_this = |scenario: &Scenario| match scenario.when {
            When::Always => true,
            When::All => self.all,
            When::Asked => false,
        };
        let all = scenarios::all(self.kexecs).into_iter();
        all.filter(|scenario| in_this(scenario) && self.wants(&scenario.name))
            .collect()
    }

    /// Whether nothing is left out.
    fn is_complete(&self) -> bool {
        self.filter.is_empty() && !self.no_vm && self.kexecs >= scenarios::KEXECS
    }
}

pub(crate) fn run(lab: &Lab, args: &Args) -> Result<bool> {
    if args.checkers {
        return checkers(lab, args);
    }
    let run = record::Run::begin(lab)?;
    if args.filter.is_empty() {
        lab.ensure_room(Needs::TESTS)?;
    }
    let wanted = |name: &str| args.wants(name);
    let scenarios = args.scenarios();
    let mut report = match args.all {
        true => Report::in_book(Book::of(lab, parts::all())?),
        false => Report::default(),
    };
    let selftests = wanted(checks::SIMULATED_SELFTESTS);
    let beside = (!args.no_vm).then(|| Beside::start(lab, &scenarios, selftests));

    report.stage(Stage::Checks, |report| check_all(lab, args, report))?;
    report.stage(Stage::Fuzz, |report| {
        let seconds = if args.all {
            long::FUZZ_SECONDS
        } else {
            fuzz::SHORT
        };
        fuzz::part(lab, &wanted, seconds, |name, began, counted| {
            report.entry(Stage::Fuzz, name, began, counted);
        })
    })?;

    report.stage(Stage::Machines, |report| match beside {
        Some(beside) => {
            beside.wait()?;
            run_all(lab, args, &scenarios, report)
        }
        None => {
            skip(&scenarios, report);
            Ok(())
        }
    })?;
    if args.all {
        report.stage(Stage::Benchmarks, |report| match args.no_vm {
            true => Ok(()),
            false => long::benchmarks(lab, &wanted, report),
        })?;
    }
    report.close();
    if args.is_complete() {
        run.end()?;
        if args.record {
            run.record_gate(lab, &report)?;
        }
    }
    Ok(report.tally.is_good())
}

/// Cargo's checks, and the kernel tree's own tests in the simulator.
fn check_all(lab: &Lab, args: &Args, report: &mut Report) -> Result<()> {
    let wanted = |check: &Check| args.wants(check.name());
    for check in Check::ALL.into_iter().filter(wanted) {
        let began = Instant::now();
        let ran = check.run(&lab.cache, &lab.repo, args.all);
        interrupt::check()?;
        match ran {
            Ok(counted) => report.entry(Stage::Checks, check.name(), began, counted),
            Err(error) => report.case(Case::failed(check.name(), format!("{error:#}"))),
        }
    }
    if args.wants(checks::SIMULATED_SELFTESTS) {
        simulated_selftests(lab, args.no_vm, report);
        interrupt::check()?;
    }
    Ok(())
}

/// The scenarios, whose kernels are there.
fn run_all(lab: &Lab, args: &Args, scenarios: &[Scenario], report: &mut Report) -> Result<()> {
    if !scenarios.is_empty() {
        // Whoever cannot be booted without the programs says why they are not there.
        let _ = lab.programs();
    }
    machines::run(lab, scenarios, args.jobs, report)
}

/// Runs what is written down by name: what is under checkers, and what is beside that.
fn checkers(lab: &Lab, args: &Args) -> Result<bool> {
    let all = scenarios::all(args.kexecs).into_iter();
    let scenarios: Vec<_> = all
        .filter(|scenario| checked::is_one(scenario) && args.wants(&scenario.name))
        .collect();
    let mut report = Report::in_book(Book::of(lab, parts::all())?);
    report.stage(Stage::Machines, |report| {
        machines::run(lab, &scenarios, args.jobs, report)
    })?;
    report.close();
    Ok(report.tally.is_good())
}

/// Counts what `--no-vm` leaves out.
fn skip(scenarios: &[Scenario], report: &mut Report) {
    show::line(&format!(
        "\nWARNING: --no-vm: {} scenarios in virtual machines are SKIPPED",
        scenarios.len()
    ));
    for scenario in scenarios {
        report.tally.add(Case {
            name: scenario.name.clone(),
            outcome: Outcome::Skipped,
            detail: "--no-vm was given".to_owned(),
        });
    }
}

/// The kernel tree's selftests under the simulator: they take the kernel's source.
fn simulated_selftests(lab: &Lab, no_vm: bool, report: &mut Report) {
    let name = checks::SIMULATED_SELFTESTS;
    if no_vm {
        return report.case(Case {
            name: name.to_owned(),
            outcome: Outcome::Skipped,
            detail: "--no-vm was given: there is no kernel source".to_owned(),
        });
    }
    let began = Instant::now();
    let ran = lab
        .selftests()
        .and_then(|folder| checks::simulated_selftests(&lab.cache, &lab.repo, folder));
    match ran {
        Ok(counted) => report.entry(Stage::Checks, name, began, counted),
        Err(error) => report.case(Case::failed(name, format!("{error:#}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(all: bool, filter: &[&str]) -> Args {
        Args {
            kexecs: scenarios::KEXECS,
            no_vm: false,
            jobs: 1,
            all,
            record: false,
            checkers: false,
            filter: filter.iter().map(|&part| part.to_owned()).collect(),
        }
    }

    #[test]
    fn what_takes_hours_is_in_all_only() {
        let names = |all| {
            let scenarios = args(all, &[]).scenarios();
            scenarios
                .into_iter()
                .map(|scenario| scenario.name)
                .collect::<Vec<_>>()
        };
        let (short, long) = (names(false), names(true));
        for name in ["chain-long", "systemd-many"] {
            let there = |names: &[String]| names.iter().any(|known| known == name);
            assert!(there(&long) && !there(&short), "{name}");
        }
        assert!(short.iter().all(|name| long.contains(name)));
    }

    #[test]
    fn a_filter_makes_a_run_incomplete() {
        assert!(args(true, &[]).is_complete());
        let filtered = args(true, &["handover"]);
        assert!(!filtered.is_complete());
        let name = |scenario: &Scenario| scenario.name.contains("handover");
        assert!(filtered.scenarios().iter().all(name));
    }

    #[test]
    fn a_whole_name_means_that_one_alone() {
        let names = |filter| {
            let scenarios = args(true, &[filter]).scenarios();
            scenarios
                .into_iter()
                .map(|scenario| scenario.name)
                .collect::<Vec<_>>()
        };
        assert!(names("hostile-client").len() > 1);
        assert_eq!(names("=hostile-client"), ["hostile-client"]);
        assert!(names("=hostile-clien").is_empty());
    }
}
