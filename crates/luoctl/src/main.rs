// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `luoctl`.
#![forbid(unsafe_code)]

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use luo_sys::standard;
use luoctl::cli::Cli;
use luoctl::command::unwritten;
use luoctl::exit::Exit;

fn main() -> ExitCode {
    // Output that is longer than a file may be is one that cannot be written. The kernel sends a
    // signal as well, which ends a process that has no handler for it.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::<AtomicBool>::default());
    match Cli::try_parse() {
        Ok(cli) => cli.run().into(),
        // The words of a wrong command line go to standard error.
        Err(why) if why.use_stderr() => {
            let _ = why.print();
            Exit::Usage.into()
        }
        Err(help) => match written(&help) {
            Ok(()) => Exit::Done.into(),
            Err(why) => unwritten(&why).into(),
        },
    }
}

/// Writes the help, or the version.
fn written(help: &clap::Error) -> io::Result<()> {
    let mut to = standard::output()?;
    match to.is_terminal() {
        // In colours.
        true => help.print(),
        false => write!(to, "{}", help.render()),
    }
}
