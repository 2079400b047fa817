// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser};
use luo_varlink::paths;

use crate::command::Command;
use crate::exit::Exit;

/// Looks at the live update agent, and runs updates.
///
/// An update takes the workloads of a machine through a kexec together: the agent
/// checks, asks all workloads to get ready (prepare) and to stand still (freeze), and
/// jumps into the new kernel. Whoever says no, or does not answer in time, ends it, and
/// everything goes on as before. `luoctl update` is all of it.
#[derive(Debug, Parser)]
#[command(name = "luoctl", version, max_term_width = 100, after_long_help = after_help())]
pub struct Cli {
    /// For all commands.
    #[command(flatten)]
    pub options: Options,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that all commands have.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Options {
    /// Writes JSON for programs; `luoctl schema` says what to expect.
    #[arg(long, global = true)]
    pub json: bool,
    /// Changes nothing: says what would be done, and whether it could be.
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Writes without colours, as to what is no terminal. So does NO_COLOR in the
    /// environment.
    #[arg(long, global = true)]
    pub no_color: bool,
    /// The folder of the agent's sockets.
    #[arg(
        long,
        global = true,
        value_name = "FOLDER",
        default_value = paths::RUNTIME,
        env = paths::RUNTIME_VARIABLE,
        hide_env_values = true
    )]
    pub runtime_directory: PathBuf,
}

fn after_help() -> String {
    format!(
        "Exit status:\n{}\nA pipe whose reader has gone is no error.",
        Exit::table()
    )
}

impl Cli {
    /// The definition, for man pages and completions.
    #[must_use]
    pub fn definition() -> clap::Command {
        Self::command()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::definition().debug_assert();
    }
}
