// SPDX-License-Identifier: MIT OR Apache-2.0
//! The options that all commands have.

use std::path::PathBuf;

use clap::Args;
use luo_varlink::paths;

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
    /// How long the agent may answer nothing before it is given up. One that may be in the
    /// middle of an update is waited for.
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        default_value_t = 30.0,
        value_parser = seconds
    )]
    pub timeout: f64,
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

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds".to_owned())?;
    match (0.001..=604_800.0).contains(&seconds) {
        true => Ok(seconds),
        false => Err("0.001 to 604800 seconds".to_owned()),
    }
}
