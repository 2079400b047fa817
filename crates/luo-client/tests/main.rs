// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client against an agent that does what a test says.

mod examples;
mod fake;
mod hostile;
mod lost;
mod manifest;
mod regions;
mod simulated;
mod tools;
mod wire;
mod workload;

use std::path::PathBuf;

/// The folder of this program, in which cargo has put what it has built.
fn built() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().into()
}

/// The program that runs under the simulator. It is built with the tests: by `cargo test
/// -p luo-client`, not by `--test client` alone.
fn guest() -> PathBuf {
    let program = built().join("../examples/luo-client-guest");
    assert!(program.exists(), "{} is not built", program.display());
    program
}
