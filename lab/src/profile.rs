// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where instructions go: which functions of a kernel a measured call runs, and how many
//! instructions each of them takes.
//!
//! ```text
//! plugin  ──blocks──>  fold  ──windows──>  shares, listing
//!                       └ symbols
//! ```
//!
//! - [`plugin`] has QEMU write down the blocks of instructions that a machine runs, in the
//!   windows that its guest opens ([`luo_lab_protocol::window`]).
//! - [`symbols`] says which function a block is of.
//! - [`fold`] adds the blocks of a window up, by function and by who has called it.
//! - [`listing`] shows one row's windows in full, [`shares`] the largest parts of many.
//! - [`missed`] are the rows that are dearer than they were to be, and why.

pub mod fold;
pub mod listing;
pub mod missed;
pub mod plugin;
pub mod shares;
pub mod symbols;

use anyhow::{Result, ensure};
use luo_lab_protocol::Event;

use self::fold::{Cost, Window};
use crate::run::qemu::Recording;

/// A row that has no window of its own: another's is in it. Nothing is known of its functions.
const WITHOUT: &str = "init to the first answer";

/// What a row's instructions were taken by.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The row.
    pub metric: String,
    /// Instructions that one call or page takes, as the guest has counted them.
    pub value: f64,
    window: Window,
}

impl Profile {
    /// A function's share in it.
    fn share(&self, instructions: u64) -> f64 {
        instructions as f64 / self.window.total.max(1) as f64
    }

    /// Instructions of one call or page.
    fn of_one(&self, instructions: u64) -> f64 {
        self.share(instructions) * self.value
    }

    /// Functions with what they took, the dearest first.
    fn dearest(&self) -> Vec<(&str, Cost)> {
        let functions = self.window.functions.iter();
        let mut all: Vec<_> = functions
            .map(|(name, &cost)| (name.as_str(), cost))
            .collect();
        all.sort_by_key(|&(name, cost)| (std::cmp::Reverse(cost.own), name));
        all
    }

    /// What a function took.
    fn cost(&self, function: &str) -> Cost {
        self.window
            .functions
            .get(function)
            .copied()
            .unwrap_or_default()
    }
}

/// The profiles of a run: its windows have no names, and come in the order of its rows.
///
/// # Errors
/// There are more windows or fewer than rows that have one.
pub fn of(recording: &Recording, windows: Vec<Window>) -> Result<Vec<Profile>> {
    let row = |event: &Event| match event {
        Event::Sample { metric, value, .. } => Some((metric.clone(), *value)),
        _ => None,
    };
    let events = recording.events.iter();
    let rows: Vec<_> = events.filter_map(|event| row(&event.what)).collect();
    let with_window = rows.iter().filter(|(metric, _)| metric != WITHOUT).count();
    ensure!(
        with_window == windows.len(),
        "the guest has told {with_window} rows and opened {} windows; its console is in {}",
        windows.len(),
        recording.log.display()
    );
    let mut windows = windows.into_iter();
    let profile = |(metric, value): (String, f64)| {
        let window = (metric != WITHOUT).then(|| windows.next()).flatten();
        Profile {
            metric,
            value,
            window: window.unwrap_or_default(),
        }
    };
    Ok(rows.into_iter().map(profile).collect())
}
