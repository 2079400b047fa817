// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask test`: everything that can be checked, and one closing line.

use crate::checks::{self, Check};
use crate::tally::Tally;
use anyhow::Result;
use luo_lab::interrupt;
use luo_lab::judge::{self, Case};
use luo_lab::lab::Lab;
use luo_lab::run::scenario::Scenario;
use luo_lab::run::scenarios;
use luo_lab_protocol::Outcome;

use crate::{fuzz, show};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many kexecs in a row the scenario `chain` does
    #[arg(long, default_value_t = scenarios::KEXECS)]
    kexecs: u32,
    /// Leave the virtual machines out, and count them as skipped
    #[arg(long)]
    no_vm: bool,
    /// Only checks and scenarios whose name contains one of these
    filter: Vec<String>,
}

pub(crate) fn run(lab: &Lab, args: &Args) -> Result<bool> {
    let wanted = |name: &str| {
        args.filter.is_empty() || args.filter.iter().any(|part| name.contains(part.as_str()))
    };
    let mut tally = Tally::default();
    for check in Check::ALL.into_iter().filter(|check| wanted(check.name())) {
        let ran = check.run(&lab.cache, &lab.repo);
        interrupt::check()?;
        match ran {
            Ok(counted) => {
                let verdict = if counted.failures.is_empty() {
                    "ok     "
                } else {
                    "FAILED "
                };
                show::line(&format!(
                    "{verdict} {}: {}",
                    check.name(),
                    counted.summary()
                ));
                tally.merge(counted);
            }
            Err(error) => report(&mut tally, Case::failed(check.name(), format!("{error:#}"))),
        }
    }

    if wanted(checks::SIMULATED_SELFTESTS) {
        simulated_selftests(lab, args.no_vm, &mut tally);
        interrupt::check()?;
    }

    fuzz::short(lab, &wanted, &mut tally)?;

    let scenarios: Vec<_> = scenarios::all(args.kexecs)
        .into_iter()
        .filter(|scenario| scenario.in_tests && wanted(&scenario.name))
        .collect();
    if args.no_vm {
        show::line(&format!(
            "\nWARNING: --no-vm: {} scenarios in virtual machines are SKIPPED",
            scenarios.len()
        ));
    }
    for scenario in &scenarios {
        if args.no_vm {
            let detail = "--no-vm was given".to_owned();
            tally.add(Case {
                name: scenario.name.clone(),
                outcome: Outcome::Skipped,
                detail,
            });
            continue;
        }
        run_scenario(lab, scenario, &mut tally);
        interrupt::check()?;
    }
    close(&tally);
    Ok(tally.is_good())
}

/// The kernel tree's selftests under the simulator: they take the kernel's source.
fn simulated_selftests(lab: &Lab, no_vm: bool, tally: &mut Tally) {
    let name = checks::SIMULATED_SELFTESTS;
    if no_vm {
        return report(
            tally,
            Case {
                name: name.to_owned(),
                outcome: Outcome::Skipped,
                detail: "--no-vm was given: there is no kernel source".to_owned(),
            },
        );
    }
    let ran = lab
        .selftests()
        .and_then(|folder| checks::simulated_selftests(&lab.cache, &lab.repo, folder));
    match ran {
        Ok(counted) => {
            let verdict = if counted.failures.is_empty() {
                "ok     "
            } else {
                "FAILED "
            };
            show::line(&format!("{verdict} {name}: {}", counted.summary()));
            tally.merge(counted);
        }
        Err(error) => report(tally, Case::failed(name, format!("{error:#}"))),
    }
}

fn run_scenario(lab: &Lab, scenario: &Scenario, tally: &mut Tally) {
    show::line(&format!("\n{}: {}", scenario.name, scenario.proves));
    let ran = lab.run(scenario, false, |_| {}).and_then(|recording| {
        let cases = judge::cases(scenario, &recording)?;
        Ok((cases, recording.took))
    });
    match ran {
        Ok((cases, took)) => {
            for case in cases {
                report(tally, case);
            }
            show::line(&format!("took {:.1} s", took.as_secs_f64()));
        }
        // Not a case of its own, but nothing of the scenario was seen either.
        Err(error) => report(
            tally,
            Case::failed(
                format!("{}::could not run", scenario.name),
                format!("{error:#}"),
            ),
        ),
    }
}

fn report(tally: &mut Tally, case: Case) {
    show::case(&case);
    tally.add(case);
}

fn close(tally: &Tally) {
    if !tally.failures.is_empty() {
        show::line("\nFailures:");
        for case in &tally.failures {
            show::case(case);
        }
    }
    show::line("");
    show::line(&tally.summary());
}
