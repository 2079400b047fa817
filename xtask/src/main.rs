// SPDX-License-Identifier: MIT OR Apache-2.0
//! The developer's commands, as `cargo xtask <command>`.
//!
//! A thin command line over `luo-lab`: one file a command.
#![forbid(unsafe_code)]

mod bench;
mod bench_agent;
mod checks;
mod conformance;
mod demo;
#[cfg(test)]
mod documents;
mod fuzz;
mod install_c;
mod kernel;
mod man;
mod programs;
mod show;
mod tally;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use luo_lab::lab::Lab;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Builds, tests and shows the project",
    version
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Update a kernel under a running service, and see how long it was away
    Demo(demo::Args),
    /// Check formats and lints, run all tests and all VM scenarios
    Test(test::Args),
    /// Build or remove test kernels
    #[command(subcommand)]
    Kernel(kernel::Command),
    /// Run a scenario or a shell in a virtual machine
    #[command(subcommand)]
    Vm(vm::Command),
    /// Run the behaviour tests on every implementation, or list what differs
    Conformance(conformance::Args),
    /// Look for inputs that break something
    Fuzz(fuzz::Args),
    /// Write man pages, completions and JSON schemas anew, from their definitions
    Man,
    /// Install the library for programs in C, with its header and for pkg-config
    InstallC(install_c::Args),
    /// Measure mainline's orchestrator and ours side by side
    Bench(bench::Args),
    /// Measure what the agent takes for a thousand workloads
    BenchAgent(bench_agent::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = Lab::open().and_then(|lab| match cli.command {
        Command::Demo(args) => demo::run(&lab, &args),
        Command::Test(args) => test::run(&lab, &args),
        Command::Kernel(command) => kernel::run(&lab, command),
        Command::Vm(command) => vm::run(&lab, command),
        Command::Conformance(args) => conformance::run(&lab, &args),
        Command::Fuzz(args) => fuzz::run(&lab, &args),
        Command::Man => man::run(),
        Command::InstallC(args) => install_c::run(&args),
        Command::Bench(args) => bench::run(&lab, &args),
        Command::BenchAgent(args) => bench_agent::run(&lab, &args),
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
