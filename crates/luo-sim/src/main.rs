// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `luo-sim`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    luo_sim::command::run()
}
