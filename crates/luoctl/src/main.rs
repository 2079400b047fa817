// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `luoctl`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use luoctl::cli::Cli;
use luoctl::exit::Exit;

fn main() -> ExitCode {
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
