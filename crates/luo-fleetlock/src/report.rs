// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a host tells beyond the protocol: what it runs, and what came of its update.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_PHASES, short};

/// What a host says when it asks for a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Asking {
    /// The kernel's release that it runs.
    pub running: Option<String>,
    /// The release that it would jump into, if it knows it.
    pub target: Option<String>,
}

/// How an update ended, for the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The host runs the new kernel, all workloads have theirs back, and it is healthy.
    Completed,
    /// Nothing has changed: it was refused, vetoed or cancelled before the jump.
    Cancelled,
    /// It jumped, and is not as it should be. It keeps its slot.
    Failed,
}

/// What came of an update.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Report {
    /// How it ended.
    pub ending: Ending,
    /// The update's id.
    #[serde(default)]
    pub update: Option<String>,
    /// Why, if that is to be told.
    #[serde(default)]
    pub reason: Option<String>,
    /// The kernel's release that the host runs now.
    #[serde(default)]
    pub release: Option<String>,
    /// The blackout: microseconds.
    #[serde(default)]
    pub blackout_us: Option<u64>,
    /// How long each phase took: microseconds.
    #[serde(default)]
    pub phases_us: BTreeMap<String, u64>,
}

impl Report {
    /// A report that says nothing but how it ended.
    #[must_use]
    pub fn new(ending: Ending) -> Self {
        Self {
            ending,
            update: None,
            reason: None,
            release: None,
            blackout_us: None,
            phases_us: BTreeMap::new(),
        }
    }

    /// What is kept of it: texts of bounded length.
    #[must_use]
    pub fn bounded(self) -> Self {
        let cut = |text: Option<String>| text.map(|text| short(&text));
        let phases = self.phases_us.into_iter().take(MAX_PHASES);
        Self {
            ending: self.ending,
            update: cut(self.update),
            reason: cut(self.reason),
            release: cut(self.release),
            blackout_us: self.blackout_us,
            phases_us: phases.map(|(name, us)| (short(&name), us)).collect(),
        }
    }
}
