// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line.

use clap::{CommandFactory, Parser};

use crate::command::{self, Command};
use crate::exit::Exit;
use crate::options::Options;

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

    /// Runs the command, and says how it ended.
    #[must_use]
    pub fn run(&self) -> Exit {
        command::run(&self.options, &self.command, Self::definition)
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
