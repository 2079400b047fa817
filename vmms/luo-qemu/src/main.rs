// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs a QEMU guest that survives kernel updates.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn main() -> ExitCode {
    // What is longer than a file may be is an error. The kernel sends a signal as well, which ends
    // a process that has no handler for it.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::<AtomicBool>::default());
    luo_qemu::command::main(std::env::args_os(), |_| {})
}
