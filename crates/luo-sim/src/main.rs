// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `luo-sim`.
#![forbid(unsafe_code)]

mod cli;

use std::fs::File;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use cli::{Cli, Kexec, Run, Subcommands};
use luo_sim::system::System;
use luo_sim::{Ending, Fault, Help, Left, Outcome, Program, Simulator};

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
