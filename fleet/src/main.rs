// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program of the scenes: a member, the agent, and who directs them, all in one.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use luo_fleet::{command, scene, stage::Stage};
use luo_varlink::Target;

fn main() -> ExitCode {
    if let Some(code) = command::run() {
        return code;
    }
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next();
    let (Some(name), Some(folder), Some(system)) = (next(), next(), next()) else {
        eprintln!("usage: luo-fleet SCENE FOLDER SYSTEM");
        eprintln!("SYSTEM is a folder that `luo-sim system` has written");
        return ExitCode::from(64);
    };
    let system = PathBuf::from(system);
    let target = Target {
        image: Some(system.join("boot/vmlinuz").display().to_string()),
        initrd: None,
        command_line: Some("liveupdate=on kho=on".to_owned()),
    };
    let state = std::fs::read_to_string("/sys/kernel/liveupdate/state");
    let is_after = state.is_ok_and(|state| state.trim() == "updated");
    let result = Stage::new(&PathBuf::from(folder), target, &system)
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
