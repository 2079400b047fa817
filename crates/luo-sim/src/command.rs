// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `luo-sim`.

use std::fs::File;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use clap::Parser;
use clap::error::{ContextKind, ContextValue};
use luo_sys::standard;

use crate::cli::{Cli, Kexec, Run, Subcommands};
use crate::fault::{BadFault, Fault, Help};
use crate::outcome::{Ending, Left, Outcome};
use crate::program::Program;
use crate::simulator::Simulator;
use crate::system::System;

/// Writes to standard error. If that cannot be written to, nobody can be told.
macro_rules! complain {
    ($($what:tt)*) => {
        drop(writeln!(std::io::stderr().lock(), $($what)*))
    };
}

/// Does what the command line says. The exit status is that of the last boot's command,
/// 2 if the command line makes no sense, or 70.
#[must_use]
pub fn run() -> ExitCode {
    // A trace that is longer than a file may be is one that cannot be written. The kernel sends a
    // signal as well, which ends a process that has no handler for it.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::<AtomicBool>::default());
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(why) if why.use_stderr() => {
            let _ = why.print();
            if let Some(program) = left_over(&why) {
                complain!(
                    "  what is run comes behind two dashes: luo-sim run --boots 2 -- {program}"
                );
            }
            return ExitCode::from(USAGE);
        }
        Err(help) => return told(&help.render().to_string()),
    };
    let done = match cli.command {
        Subcommands::Run(run) => simulate(run),
        Subcommands::Kexec(kexec) => jump(&kexec),
        Subcommands::System { folder, mainline } => system(mainline)
            .write(&folder)
            .with_context(|| folder.display().to_string())
            .map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|why| {
        complain!("luo-sim: {why:#}");
        if why.downcast_ref::<BadFault>().is_some() {
            complain!("  `luo-sim run --fault help` lists what can go wrong, and how");
        }
        if matches!(why.downcast_ref(), Some(crate::Error::NoCommand)) {
            complain!(
                "  luo-sim run --boots 2 -- PROGRAM runs one at each boot, luo-sim run --boot CMD \
                 --boot CMD others; `luo-sim run --help` says more"
            );
        }
        ExitCode::from(match is_of_the_command_line(&why) {
            true => USAGE,
            false => FAILED,
        })
    })
}

/// A word where none is expected that may be meant as the program to run.
fn left_over(why: &clap::Error) -> Option<String> {
    let is_left_over = why.kind() == clap::error::ErrorKind::UnknownArgument;
    match why.get(ContextKind::InvalidArg).filter(|_| is_left_over)? {
        ContextValue::String(word) if !word.starts_with('-') => Some(word.clone()),
        _ => None,
    }
}

/// The command line makes no sense.
const USAGE: u8 = 2;

/// The simulation could not be run.
const FAILED: u8 = 70;

/// Whether what is wrong was written by whoever has called this.
fn is_of_the_command_line(why: &anyhow::Error) -> bool {
    let is_wrong = why.downcast_ref::<crate::Error>().is_some_and(|why| {
        use crate::Error::{NoCommand, Parameter, Subsystem};
        matches!(why, NoCommand | Parameter { .. } | Subsystem(_))
    });
    is_wrong || why.downcast_ref::<BadFault>().is_some() || why.is::<std::ffi::NulError>()
}

/// Writes a text to standard output.
fn told(text: &str) -> ExitCode {
    match standard::write(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain!("luo-sim: standard output: {why}");
            ExitCode::from(FAILED)
        }
    }
}

fn system(mainline: bool) -> System {
    match mainline {
        true => System::mainline(),
        false => System::default(),
    }
}

fn simulate(run: Run) -> Result<ExitCode> {
    if run.faults.iter().any(|fault| fault == "help") {
        return Ok(told(&Help.to_string()));
    }
    let mut simulator = Simulator::new().seed(run.seed).parameters(run.parameters);
    for boot in run.boots {
        simulator = simulator.boot(Program::shell(boot));
    }
    if let Some((program, arguments)) = run.program.split_first() {
        simulator = simulator.each_boot(Program::new(program).args(arguments));
    }
    if let Some(most) = run.at_most {
        simulator = simulator.at_most(most);
    }
    if let Some(boots) = run.exactly {
        simulator = simulator.exactly(boots);
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
    if run.mainline_memfds {
        simulator = simulator.mainlines_memfds();
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
    let last = outcome.boots.len().saturating_sub(1);
    match outcome.ending {
        Ending::NoKexec(_) => {
            complain!("luo-sim: boot {last} ended without a kexec; no boot after it was run");
        }
        Ending::TooEarly => {
            complain!("luo-sim: boot {last} switched the machine off; no boot after it was run");
        }
        Ending::NoMoreBoots => {
            complain!(
                "luo-sim: a further boot was asked for, and there is none: --boots, or a further \
                 --boot, says how many there are"
            );
        }
        Ending::Exited(_) | Ending::PowerOff => {}
    }
    for fault in &outcome.unfired {
        complain!("luo-sim: the fault {fault} did not come about, so nothing was tested by it");
    }
    if let Some(why) = &outcome.trace_lost {
        complain!("luo-sim: the trace is not complete: {why}");
    }
    Ok(ExitCode::from(outcome.code()))
}

fn report(outcome: &Outcome) {
    for (number, boot) in outcome.boots.iter().enumerate() {
        if boot.left != Left::Last {
            let millis = boot.gap.as_secs_f64() * 1e3;
            complain!("luo-sim: boot {number} to {}: {millis:.1} ms", number + 1);
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
