// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `luo-sim`.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use luo_sim::system::System;
use luo_sim::{Ending, Fault, Help, Left, Outcome, Program, Simulator};

/// Runs programs against a simulated Live Update Orchestrator.
#[derive(Parser)]
#[command(name = "luo-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Runs commands from boot to boot; the exit status is that of the last.
    Run(Run),
    /// Under `luo-sim run`: loads a kernel and jumps. Returns only if that is refused.
    Kexec(Kexec),
    /// Writes files of a machine with live update into a folder, a kernel image among
    /// them: what `luod` looks at before an update, with `root` in `[checks]`.
    System {
        /// The folder.
        folder: PathBuf,
    },
}

#[derive(Args)]
struct Run {
    /// A line for the shell, for one boot; once for each boot, in order.
    #[arg(long = "boot", value_name = "CMD", conflicts_with = "program")]
    boots: Vec<OsString>,
    /// Ends after so many boots.
    #[arg(long = "boots", value_name = "N")]
    most: Option<usize>,
    /// Has something go wrong: [BOOT/]STEP[:N]=ACTION. 'help' lists what can.
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<String>,
    /// What random choices follow from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Parameters of the first kernel: liveupdate_openers=many and the like.
    #[arg(long, value_name = "LINE", default_value = "")]
    parameters: String,
    /// A subsystem that takes part in updates.
    #[arg(long = "subsystem", value_name = "NAME")]
    subsystems: Vec<String>,
    /// Adds /dev/luo_forge and /dev/luo_participant, for tests of an orchestrator.
    #[arg(long)]
    test_driver: bool,
    /// Writes what happens to standard error.
    #[arg(long)]
    trace: bool,
    /// Writes what happens to a file, as lines of JSON.
    #[arg(long, value_name = "FILE")]
    trace_json: Option<PathBuf>,
    /// Says at the end how long each update took.
    #[arg(long)]
    times: bool,
    /// The program to run at each boot, and its arguments.
    #[arg(last = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

#[derive(Args)]
struct Kexec {
    /// The next kernel's command line.
    #[arg(default_value = "")]
    command_line: String,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Subcommands::Run(run) => simulate(run),
        Subcommands::Kexec(kexec) => jump(&kexec),
        Subcommands::System { folder } => System::default()
            .write(&folder)
            .with_context(|| folder.display().to_string())
            .map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|why| {
        eprintln!("luo-sim: {why:#}");
        ExitCode::from(70)
    })
}

fn simulate(run: Run) -> Result<ExitCode> {
    if run.faults.iter().any(|fault| fault == "help") {
        print!("{Help}");
        return Ok(ExitCode::SUCCESS);
    }
    let mut simulator = Simulator::new().seed(run.seed).parameters(run.parameters);
    for boot in run.boots {
        simulator = simulator.boot(Program::shell(boot));
    }
    if let Some((program, arguments)) = run.program.split_first() {
        simulator = simulator.each_boot(Program::new(program).args(arguments));
    }
    if let Some(most) = run.most {
        simulator = simulator.at_most(most);
    }
    for fault in run.faults {
        let parsed: Fault = fault.parse().with_context(|| fault.clone())?;
        simulator = simulator.fault(parsed);
    }
    for name in run.subsystems {
        simulator = simulator.subsystem(name);
    }
    if run.test_driver {
        simulator = simulator.test_driver();
    }
    if run.trace {
        simulator = simulator.trace_lines();
    }
    if let Some(path) = run.trace_json {
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        simulator = simulator.trace_json(file);
    }
    let outcome = simulator.run()?;
    if run.times {
        report(&outcome);
    }
    match outcome.ending {
        Ending::NoKexec(_) => eprintln!(
            "luo-sim: boot {} ended without a kexec; the boots after it were not run",
            outcome.boots.len() - 1
        ),
        Ending::NoMoreBoots => {
            eprintln!("luo-sim: a further boot was asked for, and there is none")
        }
        Ending::Exited(_) | Ending::PowerOff => {}
    }
    Ok(ExitCode::from(outcome.code()))
}

fn report(outcome: &Outcome) {
    for (number, boot) in outcome.boots.iter().enumerate() {
        if boot.left != Left::Last {
            let millis = boot.gap.as_secs_f64() * 1e3;
            eprintln!("luo-sim: boot {number} to {}: {millis:.1} ms", number + 1);
        }
    }
}

fn jump(kexec: &Kexec) -> Result<ExitCode> {
    let line = std::ffi::CString::new(kexec.command_line.as_str())?;
    // Without a simulator this could load a kernel for real.
    anyhow::ensure!(
        std::env::var_os("LUO_SIM_BOOT").is_some(),
        "this is for programs under 'luo-sim run'"
    );
    let kernel = File::open("/proc/self/exe")?;
    luo_sys::kexec::load(&kernel, None::<File>, &line)?;
    Err(luo_sys::kexec::execute().into())
}
