// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask vm`: single machines.

use std::path::PathBuf;

use crate::tally::Tally;
use anyhow::Result;
use luo_lab::build::variant::{VARIANTS, Variant};
use luo_lab::judge::Case;
use luo_lab::lab::Lab;
use luo_lab::run::scenario::{Scenario, When};
use luo_lab::run::scenarios;
use luo_lab_protocol::Event;

use crate::show;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Run one scenario
    Run {
        /// Its name, see `cargo xtask vm list`
        scenario: String,
        /// Show the kernel's console as it comes
        #[arg(long)]
        show_console: bool,
        /// Other kernels than the scenario's own: the first, then the next
        #[arg(long, value_delimiter = ',')]
        kernels: Vec<String>,
        /// How many kexecs the scenario `chain` does
        #[arg(long, default_value_t = scenarios::KEXECS)]
        kexecs: u32,
    },
    /// List scenarios and kernels
    List,
    /// A shell in a machine
    Shell {
        /// The kernel that is booted
        #[arg(default_value = "rust")]
        variant: String,
        /// Kernels to kexec into, by default the booted one again
        #[arg(long, value_delimiter = ',')]
        next: Vec<String>,
        /// A file to bring along, into /root; more than once for several. There are no libraries:
        /// a program has to be static
        #[arg(long, value_name = "PATH")]
        with_file: Vec<PathBuf>,
    },
}

pub(crate) fn run(lab: &Lab, command: Command) -> Result<bool> {
    match command {
        Command::Run {
            scenario,
            show_console,
            kernels,
            kexecs,
        } => {
            let mut scenario = scenarios::find(&scenario, kexecs)?;
            scenario.replace_kernels(&find_all(&kernels)?);
            Ok(run_one(lab, &scenario, show_console)?.0)
        }
        Command::List => {
            list();
            Ok(true)
        }
        Command::Shell {
            variant,
            next,
            with_file,
        } => {
            let variant = Variant::find(&variant)?;
            let mut with = find_all(&next)?;
            if with.is_empty() {
                with.push(variant);
            }
            lab.shell(variant, &with, &with_file)?;
            Ok(true)
        }
    }
}

fn find_all(names: &[String]) -> Result<Vec<&'static Variant>> {
    names.iter().map(|name| Variant::find(name)).collect()
}

/// Runs a scenario, and shows what comes of it: whether that is good, and the cases.
pub(crate) fn run_one(
    lab: &Lab,
    scenario: &Scenario,
    show_console: bool,
) -> Result<(bool, Vec<Case>)> {
    let recording = lab.run(scenario, show_console, |event| {
        show::progress(event);
        match &event.what {
            Event::Mark { name } => {
                show::line(&format!("[{:7.2} s] mark {name}", event.at.as_secs_f64()))
            }
            Event::Sample {
                metric,
                n,
                value,
                unit,
            } => show::line(&format!("{metric} at {n}: {value:.1} {unit}")),
            _ => {}
        }
    })?;
    for line in &recording.noise {
        show::line(&format!("not an event: {line}"));
    }
    let mut tally = Tally::default();
    let cases = lab.cases(scenario, &recording)?;
    for case in &cases {
        show::case(case);
        tally.add(case.clone());
    }
    show::line(&format!("\nconsole: {}", recording.log.display()));
    show::line(&format!(
        "took {:.1} s, and {:.0} s of a processor",
        recording.took.as_secs_f64(),
        recording.processor.as_secs_f64()
    ));
    show::line(&tally.summary());
    Ok((tally.is_good(), cases))
}

fn list() {
    show::line(
        "Scenarios (cargo xtask vm run <scenario>), and for how long a processor is busy with each:",
    );
    for scenario in scenarios::all(scenarios::KEXECS) {
        let through = if scenario.next.is_empty() {
            String::new()
        } else {
            format!(" > {}", scenario.variants()[1..].join(","))
        };
        let when = match scenario.when {
            When::Always => "",
            When::All => " (--all)",
            When::Asked => " (by hand)",
        };
        show::line(&format!(
            "  {:28} {:22} {:>5} s  {}{when}",
            scenario.name,
            format!("{}{through}", scenario.first),
            scenario.cost,
            scenario.proves
        ));
    }
    show::line("\nKernels (cargo xtask kernel build <variant>):");
    for variant in VARIANTS {
        show::line(&format!("  {:28} {}", variant.name, variant.purpose));
    }
}
