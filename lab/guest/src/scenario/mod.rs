// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest can be asked to do. One row of [`TABLE`], one file.

mod accounts;
mod bench;
mod blackout;
mod chain;
mod conformance;
mod demo;
mod demo_guest;
mod device;
mod failing;
mod flb;
mod gigantic;
mod guests;
mod handover;
mod hostile;
mod hostile_client;
mod memory;
mod nodes;
mod played;
mod relay;
mod rfc_client;
mod scenes;
mod selftest;
mod shell;
mod systemd;
mod unclaimed;
mod vetoes;
mod vmm;

use anyhow::{Context, Result};

use crate::init::Guest;

pub(crate) use accounts::{ARGUMENT as ACCOUNTS_HOLDER, main as hold};
pub(crate) use hostile_client::ARGUMENT as HOSTILE_CLIENT;
pub(crate) use hostile_client::parts::main as be_hostile;
pub(crate) use shell::{JUMP, jump};

/// A scenario: runs in each kernel of the chain, and returns in the last one.
/// An error ends the run as failed.
pub(crate) type Scenario = fn(&Guest) -> Result<()>;

/// Name, and what to run.
const TABLE: &[(&str, Scenario)] = &[
    ("accounts", accounts::run),
    ("bench", bench::run),
    ("blackout", blackout::run),
    ("chain", chain::run),
    ("conformance", conformance::run),
    ("demo", demo::run),
    ("demo-vm", demo_guest::run),
    ("device", device::run),
    ("failing", failing::run),
    ("gigantic", gigantic::run),
    ("guests", guests::run),
    ("handover", handover::run),
    ("hostile", hostile::run),
    ("hostile-client", hostile_client::run),
    ("memory", memory::run),
    ("nodes", nodes::run),
    ("relay", relay::run),
    ("rfc-client", rfc_client::run),
    ("scenes", scenes::run),
    ("selftests", selftest::run),
    ("shell", shell::run),
    ("systemd", systemd::run),
    ("unclaimed", unclaimed::run),
    ("vetoes", vetoes::run),
    ("vmm", vmm::run),
];

/// Looks a scenario up.
///
/// # Errors
/// Says which ones there are.
pub(crate) fn find(name: &str) -> Result<Scenario> {
    let found = TABLE.iter().find(|(candidate, _)| *candidate == name);
    found.map(|&(_, scenario)| scenario).with_context(|| {
        let names: Vec<&str> = TABLE.iter().map(|&(name, _)| name).collect();
        format!("no scenario '{name}'; there are {}", names.join(", "))
    })
}
