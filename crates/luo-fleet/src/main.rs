// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `luo-fleet`.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, mpsc};
use std::{io, thread};

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
    let runtime = has_threads().and_then(|count| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(count)
            .enable_all()
            .build()
    });
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

/// How many threads the runtime is to have, if there can be as many: it would panic without.
fn has_threads() -> io::Result<usize> {
    let count = thread::available_parallelism().map_or(1, usize::from);
    let (all_are_there, told) = mpsc::channel::<()>();
    let told = Arc::new(Mutex::new(told));
    let threads: io::Result<Vec<_>> = (0..=count)
        .map(|_| {
            let told = Arc::clone(&told);
            // Each of them waits for the end of this side, or for one that does.
            let waits = move || drop(told.lock().map(|told| told.recv()));
            thread::Builder::new().spawn(waits)
        })
        .collect();
    drop(all_are_there);
    match threads {
        Ok(threads) => {
            for thread in threads {
                // It has nothing to say.
                let _ = thread.join();
            }
            Ok(count)
        }
        Err(why) => Err(io::Error::new(
            why.kind(),
            format!(
                "there can be no further thread: {why}; `ulimit -u`, or TasksMax= of the unit, says how \
                 many there may be"
            ),
        )),
    }
}
