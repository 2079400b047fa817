// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `luoctl`.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use clap::error::ErrorKind;
use luoctl::cli::Cli;
use luoctl::exit::Exit;

fn main() -> ExitCode {
    // Output that is longer than a file may be is one that cannot be written. The kernel sends a
    // signal as well, which ends a process that has no handler for it.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::<AtomicBool>::default());
    match Cli::try_parse() {
        Ok(cli) => cli.run().into(),
        Err(why) => {
            // If nobody reads the text, that is no error.
            let _ = why.print();
            match why.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done.into(),
                _ => Exit::Usage.into(),
            }
        }
    }
}
