// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line. It is a file of its own with nothing else in it, because the man pages are
//! made of it.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Where the configuration is if nobody says.
pub const DEFAULT: &str = "/etc/luo-fleet/luo-fleet.toml";

/// Lets the hosts of a fleet be updated a few at a time.
///
/// It is a server of FleetLock, the protocol by which luod, Zincati and others ask whether they
/// may reboot, with a policy: groups in stages, slots, windows, a failure budget. All state is in
/// etcd, so several servers may run. A host that does not come back keeps its slot, so a rollout
/// stops by itself. `luo-fleet dev` shows one, with an etcd of its own.
#[derive(Debug, Parser)]
#[command(name = "luo-fleet", version, max_term_width = 100)]
pub struct Cli {
    /// The configuration.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT, env = "LUO_FLEET_CONFIG", hide_env_values = true)]
    pub config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serves.
    Serve {
        /// Says whether the configuration can be used, and ends.
        #[arg(long)]
        check: bool,
    },
    /// The policy document.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Presses the stop switch: nobody begins any more. Those that are at it go on.
    Stop {
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Lets go of the stop switch. One that stands in the policy stays.
    Go {
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// How the fleet stands, as JSON.
    Status,
    /// The log's last lines, as JSON, a line each.
    Audit,
    /// Writes a token.
    Token {
        /// For a host of this name.
        #[arg(long, group = "who")]
        host: Option<String>,
        /// For an administrator of this name.
        #[arg(long, group = "who")]
        admin: Option<String>,
        /// For somebody of this name who may look.
        #[arg(long, group = "who")]
        viewer: Option<String>,
    },
    /// Shows a rollout over hosts that are not there, with an etcd of its own.
    Dev(DevArgs),
}

/// What can be done with the policy document.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Says whether a document can be used.
    Check {
        /// The document; `-` is standard input.
        file: PathBuf,
    },
    /// Puts a document into force, for all servers at once.
    Set {
        /// The document; `-` is standard input.
        file: PathBuf,
        /// Why, for the log.
        #[arg(long)]
        reason: String,
    },
    /// Writes the one that is in force.
    Show,
}

/// What is shown.
#[derive(Debug, clap::Args)]
pub struct DevArgs {
    /// How many hosts.
    #[arg(long, default_value_t = 20)]
    pub hosts: usize,
    /// How many slots.
    #[arg(long, default_value_t = 3)]
    pub slots: usize,
    /// How long an update takes.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.5, value_parser = seconds)]
    pub update: f64,
    /// Where the page is.
    #[arg(long, default_value = "127.0.0.1:7443")]
    pub listen: String,
    /// One canary never comes back.
    #[arg(long)]
    pub lose: bool,
    /// Stays when the rollout is over, with the page.
    #[arg(long)]
    pub stay: bool,
    /// Ends after so many seconds, done or not.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub at_most: Option<f64>,
    /// Writes how many answers there were in a second, how long they took, and what it cost.
    #[arg(long)]
    pub figures: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds".to_owned())?;
    match (0.001..=3_600.0).contains(&seconds) {
        true => Ok(seconds),
        false => Err("0.001 to 3600 seconds".to_owned()),
    }
}
