// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask conformance`: the behaviour tests, and what differs.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use luo_conformance::document::{self, Column};
use luo_conformance::results::AS_DECLARED;
use luo_conformance::{Course, Implementation, Report, Results, TOPICS, Verdict};
use luo_lab::judge::Case;
use luo_lab::lab::Lab;
use luo_lab::run::scenarios;
use luo_lab_protocol::Outcome;

use crate::{programs, show, vm};

/// Where the table is written, in the repository.
const DOCUMENT: &str = "docs/conformance.md";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this implementation: simulator, rust, c
    #[arg(long)]
    on: Option<Implementation>,
    /// List the cases and the declared differences, and run nothing
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(lab: &Lab, args: &Args) -> Result<bool> {
    if args.list {
        list(args.on);
        return Ok(true);
    }
    let wanted = |on: &Implementation| args.on.is_none_or(|only| only == *on);
    let mut columns: Vec<Column> = Vec::new();
    let mut good = true;
    for on in Implementation::ALL.into_iter().filter(wanted) {
        show::line(&format!("\n==> {on}"));
        let (ended_well, results) = if on.is_kernel() {
            in_machine(lab, on)?
        } else {
            simulated()?
        };
        good &= ended_well;
        columns.push((on, results));
    }
    let table = document::render(&columns);
    show::line(&format!("\n{table}"));
    let mut whole = columns.len() == Implementation::ALL.len() && good;
    for (on, results) in &columns {
        show::line(&format!("{on}: {results}"));
        for complaint in results.complaints() {
            show::line(&format!("  {complaint}"));
            (good, whole) = (false, false);
        }
        whole &= results.reasons_to_skip().is_empty();
    }
    if whole {
        fs::write(lab.repo.join(DOCUMENT), table).context(DOCUMENT)?;
        show::line(&format!("{DOCUMENT} is written."));
    } else {
        show::line(&format!(
            "{DOCUMENT} stays as it is: it takes a run on all implementations in which \
             nothing fails and nothing is skipped."
        ));
    }
    Ok(good)
}

/// In a virtual machine.
fn in_machine(lab: &Lab, on: Implementation) -> Result<(bool, Results)> {
    let scenario = scenarios::find(&format!("conformance-{on}"), scenarios::KEXECS)?;
    let (good, cases) = vm::run_one(lab, &scenario, false)?;
    let prefix = format!("{}::", scenario.name);
    let reports = cases.iter().filter_map(|case| report(case, &prefix));
    let reports = reports.collect();
    Ok((good, Results { reports }))
}

/// What a machine said of a case of the suite; what it said of the run as a whole is
/// no such case.
fn report(case: &Case, prefix: &str) -> Option<Report> {
    let name = case.name.strip_prefix(prefix)?;
    if !name.contains("::") {
        return None;
    }
    let why = case.detail.clone();
    let verdict = match (case.outcome, why.strip_prefix(AS_DECLARED)) {
        (Outcome::Passed, None) => Verdict::Passed,
        (Outcome::Passed, Some(reason)) => Verdict::Differs(reason.to_owned()),
        (Outcome::Skipped, _) => Verdict::Skipped(why),
        (Outcome::Failed, _) => Verdict::Failed(why),
    };
    let name = name.to_owned();
    Some(Report { name, verdict })
}

/// Under the simulator, which takes no machine.
fn simulated() -> Result<(bool, Results)> {
    let folder = programs::build(&["luo-sim", "luo-conformance"])?;
    let run = Command::new(folder.join("luo-sim"))
        .args(["run", "--test-driver", "--"])
        .arg(folder.join("luo-conformance"))
        .stderr(Stdio::inherit())
        .output()
        .context("luo-sim")?;
    let output = String::from_utf8_lossy(&run.stdout);
    for line in output.lines() {
        show::line(line);
    }
    Ok((run.status.success(), Results::of_output(&output)))
}

fn list(only: Option<Implementation>) {
    let mut count = 0;
    for topic in TOPICS {
        show::line(&format!("{}:", topic.name));
        for case in topic.cases {
            count += 1;
            let kexecs = match case.course {
                Course::Here(_) => 0,
                Course::Shared(..) => 1,
                Course::Alone(steps) => steps.len() - 1,
            };
            let over = match kexecs {
                0 => String::new(),
                1 => " (over a kexec)".to_owned(),
                n => format!(" (over {n} kexecs)"),
            };
            show::line(&format!("  {}{over}", case.name));
            for differs in case.differs {
                if only.is_none_or(|only| only == differs.on) {
                    show::line(&format!("    differs on {differs}"));
                }
            }
        }
    }
    show::line(&format!("\n{count} cases"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, outcome: Outcome, detail: &str) -> Case {
        Case {
            name: name.to_owned(),
            outcome,
            detail: detail.to_owned(),
        }
    }

    #[test]
    fn a_machines_case_is_a_report() {
        let told = |outcome, detail: &str| {
            let case = case("conformance-c::log::veto", outcome, detail);
            report(&case, "conformance-c::").map(|report| report.verdict)
        };
        assert_eq!(told(Outcome::Passed, ""), Some(Verdict::Passed));
        let differs = told(Outcome::Passed, &format!("{AS_DECLARED}no log"));
        assert_eq!(differs, Some(Verdict::Differs("no log".to_owned())));
        let failed = told(Outcome::Failed, "EIO");
        assert_eq!(failed, Some(Verdict::Failed("EIO".to_owned())));
    }

    #[test]
    fn what_is_about_the_run_is_none() {
        let whole = case("conformance-c::console clean", Outcome::Failed, "oops");
        assert_eq!(report(&whole, "conformance-c::"), None);
        let other = case("demo::x::y", Outcome::Passed, "");
        assert_eq!(report(&other, "conformance-c::"), None);
    }

    /// Fewer are demanded of no machine: a case that is not run must be missed.
    #[test]
    fn machines_are_to_run_each_case_of_the_suite() {
        let suite: usize = TOPICS.iter().map(|topic| topic.cases.len()).sum();
        let all = scenarios::all(scenarios::KEXECS);
        let of_suite = all
            .iter()
            .filter(|scenario| scenario.guest == "conformance");
        let demanded: Vec<_> = of_suite.map(|scenario| scenario.expect.cases).collect();
        assert!(demanded.len() >= Implementation::ALL.len());
        assert_eq!(demanded, vec![suite; demanded.len()]);
    }
}
