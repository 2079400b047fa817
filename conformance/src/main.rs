// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs the behaviour tests under the simulator, and prints a line for each case:
//!
//! ```text
//! luo-sim run --test-driver --at-most 1000 -- luo-conformance
//! ```
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// How it is run.
const USAGE: &str = "luo-sim run --test-driver --at-most 1000 -- luo-conformance";

fn main() -> ExitCode {
    if let Some("-h" | "--help") = std::env::args().nth(1).as_deref() {
        println!("luo-conformance takes a simulated machine: {USAGE}");
        return ExitCode::SUCCESS;
    }
    match luo_conformance::simulated::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("luo-conformance: {why:#}");
            ExitCode::FAILURE
        }
    }
}
