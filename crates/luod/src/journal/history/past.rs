// SPDX-License-Identifier: MIT OR Apache-2.0
//! The history as it is told: its updates, and what a line of it says of one.

use luo_varlink::{HistoryEntry, Phase};
use serde::{Deserialize, Serialize};

/// The history, as it is told.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// The updates, the newest first.
    pub updates: Vec<HistoryEntry>,
    /// The parts of it that cannot be read, in words.
    pub problems: Vec<String>,
    /// How many older updates were asked for and left out, as too long all together.
    pub left_out: usize,
    /// The newest line cannot be read: an update, or the end of one, may be missing.
    pub is_unsure: bool,
}

impl Past {
    /// Puts an update before all others, in place of what is known of it.
    pub fn put(&mut self, entry: HistoryEntry) {
        self.updates.retain(|known| known.update != entry.update);
        self.updates.insert(0, entry);
    }
}

/// The facts that a line of an update under way has beside the update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The boot in which it was under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Where a picture of it is wanted when it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
}

/// An update that the disk has as under way.
#[derive(Clone, Debug)]
pub struct Open {
    /// The update, as it was written.
    pub entry: HistoryEntry,
    /// Whether that was in this boot.
    pub is_of_this_boot: bool,
    /// Where a picture of it is wanted when it is over.
    pub report: Option<String>,
}

impl Open {
    /// How far it had come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        reached(&self.entry)
    }
}

/// How far an update has come by its timeline.
pub(super) fn reached(entry: &HistoryEntry) -> Phase {
    let last = entry.timeline.last();
    last.map_or(Phase::Preparing, |line| line.phase)
}
