// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `luo-fleet`.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use luo_fleet::cli::{Cli, Command};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    // What is longer than a file may be cannot be written. The kernel sends a signal as well, which
    // ends a process that has no handler for it.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::<AtomicBool>::default());
    let cli = Cli::parse();
    // A command that ends says by itself what came of it.
    let usual = match cli.command {
        Command::Serve { .. } => "info",
        _ => "error",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(cli.run());
            runtime.shutdown_background();
            done
        }
        Err(why) => Err(why.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("luo-fleet: {why:#}");
            ExitCode::FAILURE
        }
    }
}
