// SPDX-License-Identifier: MIT OR Apache-2.0
//! The demonstration as a program of its own, for `luo-sim run -- luo-demo`.
//!
//! It serves, jumps, and is started again by the next boot: which one it is tells
//! `/sys/kernel/liveupdate/state`. Marks and sentences go to standard output.
#![forbid(unsafe_code)]

use std::fs;
use std::fs::File;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use luo_demo::{Stage, service};

/// Standard output.
struct Terminal {
    failed: AtomicBool,
}

impl Stage for Terminal {
    fn mark(&self, name: &str) {
        // A clock that the simulated kexec does not stop.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        println!("mark {name} {}.{:09}", now.tv_sec, now.tv_nsec);
    }

    fn progress(&self, text: String) {
        println!("{text}");
    }

    fn case(&self, name: &str, outcome: Result<()>) {
        match outcome {
            Ok(()) => println!("ok      demo::{name}"),
            Err(why) => {
                println!("FAILED  demo::{name}\n    {why:#}");
                self.failed.store(true, Ordering::Relaxed);
            }
        }
    }

    fn load_next(&self) -> Result<()> {
        // The simulator takes any file for a kernel.
        let kernel = File::open("/proc/self/exe")?;
        luo_sys::kexec::load(&kernel, None::<&File>, c"").context("loading the next kernel")
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }

    fn jump(&self) -> luo_sys::Error {
        luo_sys::kexec::execute()
    }
}

fn main() -> ExitCode {
    let stage = Terminal {
        failed: AtomicBool::new(false),
    };
    if let Err(why) = run(&stage) {
        eprintln!("luo-demo: {why:#}");
        return ExitCode::FAILURE;
    }
    if stage.failed.load(Ordering::Relaxed) {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run(stage: &Terminal) -> Result<()> {
    let state = fs::read_to_string("/sys/kernel/liveupdate/state")
        .context("no live update here; run this as: luo-sim run --boots 2 -- luo-demo")?;
    match state.trim() {
        "updated" => service::after(stage),
        _ => service::before(stage),
    }
}
