// SPDX-License-Identifier: MIT OR Apache-2.0
//! The roles that a program with the scenes built in takes when a scene starts it.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use luo_monitor::point::Point;
use rustix::process::{Pid, Signal, getpid, kill_process};

use crate::linux::init;
use crate::offload::{self, peer};
use crate::{keeper, monitor, steps};

/// The step at which a luo-qemu is killed.
pub(crate) const KILLED_AT: &str = "LUO_QEMU_KILLED_AT";

/// The step at which a luo-qemu's QEMU is killed.
pub(crate) const QEMU_KILLED_AT: &str = "LUO_QEMU_QEMU_KILLED_AT";

/// Becomes `luo-qemu`, `luo-vmm`, `luo-ch` or its cloud-hypervisor, a keeper, or what [`luo_scenes::command::run`] knows, if the first
/// argument says so.
#[must_use]
pub fn run() -> Option<ExitCode> {
    let program = std::env::args_os().next()?;
    if Path::new(&program).ends_with(peer::PROGRAM) {
        return Some(peer::run());
    }
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next()?.to_str()? {
        "luo-qemu" => {
            let name = std::iter::once("luo-qemu".into());
            Some(luo_qemu::command::main(name.chain(arguments), strike))
        }
        "luo-ch" => {
            let name = std::iter::once("luo-ch".into());
            Some(luo_ch::command::main(name.chain(arguments), |point| {
                strike_at(offload::KILLED_AT, point);
            }))
        }
        "luo-vmm" => {
            let name = std::iter::once("luo-vmm".into());
            Some(luo_vmm::command::main(name.chain(arguments), |point| {
                monitor::wait_for_ring(point);
                strike_at(monitor::KILLED_AT, point);
            }))
        }
        monitor::inner::ARGUMENT => Some(match monitor::inner::run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("inner: {why:#}");
                ExitCode::FAILURE
            }
        }),
        init::ARGUMENT => {
            let words = arguments.filter_map(|word| word.into_string().ok());
            Some(match init::run(words) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            })
        }
        keeper::ARGUMENT => Some(match keeper::run(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("keeper: {why:#}");
                ExitCode::FAILURE
            }
        }),
        _ => luo_scenes::command::run(),
    }
}

/// Kills this process as from outside, at the step that a variable names.
fn strike_at(variable: &str, point: luo_monitor::point::Point) {
    if std::env::var(variable).is_ok_and(|word| word == point.word()) {
        let _ = kill_process(getpid(), Signal::KILL);
        unreachable!("it was killed");
    }
}

/// Notes the step, and kills as from outside if it is the one that the test wants: this process, or its
/// QEMU.
fn strike(point: Point) {
    steps::note(point);
    let is_here = |name| std::env::var(name).is_ok_and(|word| word == point.word());
    if is_here(KILLED_AT) {
        let _ = kill_process(getpid(), Signal::KILL);
        unreachable!("it was killed");
    }
    if is_here(QEMU_KILLED_AT) {
        let own = getpid().as_raw_nonzero();
        let children = format!("/proc/{own}/task/{own}/children");
        let children = fs::read_to_string(children).unwrap_or_default();
        let numbers = children.split_whitespace().map(str::parse);
        for child in numbers.flatten().filter_map(Pid::from_raw) {
            let _ = kill_process(child, Signal::KILL);
        }
    }
}
