// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs a guest of cloud-hypervisor that survives kernel updates.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    luo_ch::command::main(std::env::args_os(), |_| {})
}
