// SPDX-License-Identifier: MIT OR Apache-2.0
//! The document, as it is decided by: all of its values are valid.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::share::Share;
use super::window::{Freeze, Window};
use crate::decide::record::Goal;

/// What an administrator wants of a rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The rollout's name: what a host has completed under it is not done again.
    pub rollout: String,
    /// The kernel's release that hosts are to run then.
    pub release: Option<String>,
    /// The stop switch: why nobody begins any more.
    pub stop: Option<String>,
    /// Slots of all groups together.
    pub slots: u64,
    /// How many groups may have slots taken at once.
    pub groups_at_once: Option<u64>,
    /// The least time between what happened last to a slot and the next one that is taken.
    pub interval: SignedDuration,
    /// A slot that is held longer counts as a failure.
    pub overdue: SignedDuration,
    /// How long a host waits after an update that did not take place.
    pub retry: SignedDuration,
    /// How many hosts may fail; with one more it is halted.
    pub budget: Share,
    /// The zone of windows and freezes.
    pub zone: TimeZone,
    /// The groups, by stage and then in their order.
    pub groups: Vec<Group>,
    /// When updates may begin; always if there are none.
    pub windows: Vec<Window>,
    /// When none begins.
    pub freezes: Vec<Freeze>,
}

/// A group of hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// It waits for all groups of smaller stages.
    pub stage: u32,
    /// Its slots.
    pub slots: u64,
    /// How many of its hosts have to have completed, so that the next stage begins.
    pub complete: Share,
    /// How long the next stage waits after that.
    pub soak: SignedDuration,
    /// How many of its hosts may fail; with one more all is halted.
    pub budget: Option<Share>,
}

impl Policy {
    /// What it is to bring hosts to.
    #[must_use]
    pub fn goal(&self) -> Goal {
        Goal::new(&self.rollout, self.release.as_deref())
    }

    /// A group by its name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// Whether a group has a window open, or needs none. Else when one opens.
    ///
    /// # Errors
    /// None is open; when the next one opens, if one does.
    pub fn open(&self, group: &str, now: Timestamp) -> Result<(), Option<Timestamp>> {
        let mut own = self.windows.iter().filter(|window| window.is_for(group));
        if self.windows.is_empty() || own.any(|window| window.is_open(now, &self.zone)) {
            return Ok(());
        }
        let own = self.windows.iter().filter(|window| window.is_for(group));
        Err(own.filter_map(|window| window.next(now, &self.zone)).min())
    }

    /// The freeze that is in force, and when it ends.
    #[must_use]
    pub fn frozen(&self, now: Timestamp) -> Option<(&Freeze, Timestamp)> {
        let mut all = self.freezes.iter();
        all.find_map(|freeze| Some((freeze, freeze.ends(now, &self.zone)?)))
    }
}
