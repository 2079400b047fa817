// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `luod`; see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    luod::command::main(std::env::args_os(), &[])
}
