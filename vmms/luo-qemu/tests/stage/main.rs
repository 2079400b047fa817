// SPDX-License-Identifier: MIT OR Apache-2.0
//! The programs of the tests' machine in one: the agent, `luoctl`, `luo-qemu`, and who directs
//! them at each boot.
#![forbid(unsafe_code)]

mod image;
mod machine;
mod scene;

use std::process::ExitCode;

use luo_qemu::point::Point;
use rustix::process::{Signal, getpid, kill_process};

/// The step at which a luo-qemu is killed.
pub(crate) const KILLED_AT: &str = "LUO_QEMU_KILLED_AT";

fn main() -> ExitCode {
    if let Some(code) = luo_scenes::command::run() {
        return code;
    }
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next().unwrap_or_default();
    if first == "luo-qemu" {
        let name = std::iter::once("luo-qemu".into());
        return luo_qemu::command::main(name.chain(arguments), die_at);
    }
    let mut next = || arguments.next().unwrap_or_default();
    let (folder, system, qemu) = (next(), next(), next());
    let name = first.to_string_lossy();
    match scene::run(&name, folder.as_ref(), system.as_ref(), qemu.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("FAILED  {name}\n    {why:#}");
            ExitCode::FAILURE
        }
    }
}

/// Dies as by SIGKILL from outside, at the step that the test wants.
fn die_at(point: Point) {
    if std::env::var(KILLED_AT).is_ok_and(|word| word == point.word()) {
        let _ = kill_process(getpid(), Signal::KILL);
        unreachable!("it was killed");
    }
}
