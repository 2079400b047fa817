// SPDX-License-Identifier: MIT OR Apache-2.0
//! The init of every test VM.
//!
//! It runs as process 1 (or, in guests that run systemd, as a service of it), sets the machine up, runs the scenario that the
//! kernel command line names, reports to the host as it goes, and switches the
//! machine off. A scenario that kexecs is run again by the next kernel, which
//! knows from `luo.boot` how far it is.
//!
//! - [`init`]: mounts, limits, and the ways out: done, failed, hung.
//! - [`port`]: the events to the host. [`command_line`]: the way in.
//! - [`kexec`]: the way to the next kernel.
//! - [`window`]: which part of it is looked at more closely from outside.
//! - [`module`]: KVM, for scenarios that run guests in it.
//! - [`leaks`]: what a kernel with a checker of leaks has found at its end.
//! - [`program`]: programs of users. [`cgroup`]: who is charged for memory.
//! - [`check`], [`fill`], [`kmsg`], [`memory`], [`forge`]: what scenarios are made of; some
//!   of it comes from `luo-conformance`.
//! - [`scenario`]: the table, one file each. [`service`]: services of one of them.
#![forbid(unsafe_code)]

mod cgroup;
mod check;
mod command_line;
mod forge;
mod init;
mod kexec;
mod kmsg;
mod leaks;
mod memory;
mod module;
mod port;
mod program;
mod scenario;
mod service;
mod window;

use std::process::ExitCode;

use luo_conformance::{child, fill};

fn main() -> ExitCode {
    let started = luo_sys::clock::ticks();
    // One that was opened before the jump into this kernel.
    window::close();
    // In a machine with a shell a link of this name leads here.
    let mut args = std::env::args();
    let name = args.next().unwrap_or_default();
    if name.rsplit('/').next() == Some(scenario::JUMP) {
        // It returns only if it has not jumped.
        eprintln!("{}: {:#}", scenario::JUMP, scenario::jump(args));
        return ExitCode::FAILURE;
    }
    if args.next().as_deref() == Some(child::ARGUMENT) {
        child::run(args);
    }
    // The agent and its workloads are this program too.
    if let Some(code) = luo_scenes_guests::command::run() {
        return code;
    }
    if std::env::args().nth(1).as_deref() == Some(luo_demo::workload::ARGUMENT) {
        luo_demo::workload::main();
    }
    if std::env::args().nth(1).as_deref() == Some(service::ARGUMENT) {
        if let Err(error) = service::run(std::env::args().nth(2).as_deref()) {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
        return ExitCode::SUCCESS;
    }
    if std::env::args().nth(1).as_deref() == Some(scenario::HOSTILE_CLIENT) {
        scenario::be_hostile(&std::env::args().nth(2).unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    if std::env::args().nth(1).as_deref() == Some(scenario::ACCOUNTS_HOLDER) {
        scenario::hold(&std::env::args().nth(2).unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    init::panics_end_the_run();
    init::end(run(started));
}

fn run(started: Option<u64>) -> anyhow::Result<()> {
    // In a guest that has an init of its own this is a service, and all is set up.
    let is_init = std::process::id() == 1;
    if is_init {
        init::mount()?;
    }
    let guest = init::Guest::read(started)?;
    port::open();
    init::announce(&guest);
    if is_init {
        init::raise_limits()?;
    }
    init::watch(&guest);
    scenario::find(&guest.scenario)?(&guest)
}
