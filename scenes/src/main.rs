// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program of the scenes and of the crowd: a member, the agent, and who directs them,
//! all in one.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use luo_scenes::{command, scene, stage::Stage};

fn main() -> ExitCode {
    if let Some(code) = command::run() {
        return code;
    }
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next();
    let (Some(name), Some(folder), Some(system)) = (next(), next(), next()) else {
        eprintln!(
            "usage: luo-scenes SCENE FOLDER SYSTEM, luo-scenes crowd [OPTIONS] FOLDER SYSTEM"
        );
        eprintln!("SYSTEM is a folder that `luo-sim system` has written");
        return ExitCode::from(64);
    };
    let state = std::fs::read_to_string("/sys/kernel/liveupdate/state");
    let is_after = state.is_ok_and(|state| state.trim() == "updated");
    let result = Stage::simulated(folder.as_ref(), system.as_ref())
        .and_then(|stage| scene::run(&name, &stage, is_after));
    match result {
        Ok(()) => {
            println!("ok      {name}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("FAILED  {name}\n    {why:#}");
            ExitCode::FAILURE
        }
    }
}
