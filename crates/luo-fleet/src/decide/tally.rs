// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is known of all hosts together: counted once, and kept up record by record, so that a
//! decision looks at those only that have a slot.

use std::collections::BTreeMap;

use super::record::{Goal, Record};

/// What is known of all hosts together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// What is counted.
    goal: Goal,
    /// All hosts.
    pub hosts: u64,
    /// By group.
    pub groups: BTreeMap<String, Count>,
    /// Who has a slot.
    pub holders: BTreeMap<String, Holder>,
    /// When slots were taken and given back: how many at each moment.
    moments: BTreeMap<i64, u64>,
}

/// What is known of a group's hosts together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All.
    pub hosts: u64,
    /// Those that are held, are not done and have no slot.
    pub held: u64,
    /// Those that have completed the rollout, or run its release already.
    pub done: u64,
    /// Slots that are taken.
    pub slots: u64,
    /// Since when they are: how many at each moment.
    done_at: BTreeMap<i64, u64>,
}

/// Who has a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The host's group.
    pub group: String,
    /// Since when: milliseconds since 1970.
    pub since_ms: i64,
    /// Whether it told that it failed.
    pub has_failed: bool,
}

impl Count {
    /// When the last one completed the rollout.
    #[must_use]
    pub fn last_done_ms(&self) -> Option<i64> {
        self.done_at.keys().next_back().copied()
    }
}

fn more(counts: &mut BTreeMap<i64, u64>, at: i64) {
    let count = counts.entry(at).or_default();
    *count = count.saturating_add(1);
}

fn fewer(counts: &mut BTreeMap<i64, u64>, at: i64) {
    if let Some(count) = counts.get_mut(&at) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&at);
        }
    }
}

impl Tally {
    /// Counts hosts.
    #[must_use]
    pub fn of<'a>(
        goal: &Goal,
        records: impl IntoIterator<Item = (&'a String, &'a Record)>,
    ) -> Self {
        let mut tally = Self {
            goal: goal.clone(),
            ..Self::default()
        };
        for (id, record) in records {
            tally.add(id, record);
        }
        tally
    }

    /// When a slot was taken or given back last: milliseconds since 1970.
    #[must_use]
    pub fn last_ms(&self) -> Option<i64> {
        self.moments.keys().next_back().copied()
    }

    /// Counts a host in.
    pub fn add(&mut self, id: &str, record: &Record) {
        self.hosts = self.hosts.saturating_add(1);
        let count = self.groups.entry(record.group.clone()).or_default();
        count.hosts = count.hosts.saturating_add(1);
        let done = record.done_ms(&self.goal);
        if let Some(at) = done {
            count.done = count.done.saturating_add(1);
            more(&mut count.done_at, at);
        } else if record.held.is_some() && record.slot.is_none() {
            count.held = count.held.saturating_add(1);
        }
        if let Some(slot) = &record.slot {
            count.slots = count.slots.saturating_add(1);
            let holder = Holder {
                group: record.group.clone(),
                since_ms: slot.since_ms,
                has_failed: slot.failed.is_some(),
            };
            self.holders.insert(id.to_owned(), holder);
            more(&mut self.moments, slot.since_ms);
        }
        if let Some(last) = &record.last {
            more(&mut self.moments, last.at_ms);
        }
    }

    /// Counts a host out that was counted in with this record.
    pub fn remove(&mut self, id: &str, record: &Record) {
        self.hosts = self.hosts.saturating_sub(1);
        if let Some(count) = self.groups.get_mut(&record.group) {
            count.hosts = count.hosts.saturating_sub(1);
            if let Some(at) = record.done_ms(&self.goal) {
                count.done = count.done.saturating_sub(1);
                fewer(&mut count.done_at, at);
            } else if record.held.is_some() && record.slot.is_none() {
                count.held = count.held.saturating_sub(1);
            }
            if record.slot.is_some() {
                count.slots = count.slots.saturating_sub(1);
            }
            if count.hosts == 0 {
                self.groups.remove(&record.group);
            }
        }
        if let Some(slot) = &record.slot {
            self.holders.remove(id);
            fewer(&mut self.moments, slot.since_ms);
        }
        if let Some(last) = &record.last {
            fewer(&mut self.moments, last.at_ms);
        }
    }
}
