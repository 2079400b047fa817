// SPDX-License-Identifier: MIT OR Apache-2.0
//! The state in memory, change by change.

use std::collections::BTreeMap;
use std::sync::Arc;

use luo_fleetlock::limits::short;
use serde::{Deserialize, Serialize};

use super::keys::{Key, Keys};
use crate::decide::decision::Halt;
use crate::decide::record::{Goal, Record};
use crate::decide::tally::Tally;
use crate::etcd::wire::{Event, KeyValue};
use crate::policy::document::Policy;
use crate::policy::parse::parse;

/// The stop switch, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Stop {
    /// Why.
    pub reason: String,
    /// By whom.
    pub by: String,
}

/// The ledger, as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Ledger {
    /// How many changes there were.
    pub number: u64,
    /// When the last one was: milliseconds since 1970, by the clock of the server that made it.
    pub at_ms: i64,
}

/// The state.
#[derive(Debug, Default)]
pub struct Known {
    /// The revision up to which everything is in here.
    pub revision: i64,
    /// The ledger.
    pub ledger: Ledger,
    /// The revision of its last change; 0 if there is none.
    pub ledger_revision: i64,
    /// The document, as it was written.
    pub text: Option<String>,
    /// The policy, with the stop switch in it, or why there is none.
    pub policy: Option<Result<Arc<Policy>, String>>,
    stop: Option<Stop>,
    /// The hosts, with the revision of the last change of each.
    pub hosts: BTreeMap<String, (Record, i64)>,
    /// When hosts were heard of last: milliseconds since 1970.
    pub presence: BTreeMap<String, i64>,
    /// The hosts, counted for the policy's rollout.
    pub tally: Tally,
}

impl Known {
    /// The state, as it was read.
    #[must_use]
    pub fn read(keys: &Keys, revision: i64, all: &[KeyValue]) -> Self {
        let mut known = Self::default();
        for pair in all {
            known.put(keys, pair);
        }
        known.revision = revision;
        known.settle();
        known
    }

    /// A host's record.
    #[must_use]
    pub fn record(&self, id: &str) -> Option<&Record> {
        self.hosts.get(id).map(|(record, _)| record)
    }

    /// The policy.
    ///
    /// # Errors
    /// There is none, or it cannot be read: nobody begins.
    pub fn policy(&self) -> Result<&Arc<Policy>, Halt> {
        match &self.policy {
            Some(Ok(policy)) => Ok(policy),
            Some(Err(why)) => {
                let reason = format!("the policy in etcd cannot be read: {why}");
                Err(Halt::Stopped { reason })
            }
            None => Err(Halt::NoPolicy),
        }
    }

    /// Whether another release than that of a new policy has begun under the name of its rollout:
    /// which one, and on how many hosts.
    #[must_use]
    pub fn has_begun_another_release(&self, new: &Policy) -> Option<(String, usize)> {
        let old = match &self.policy {
            Some(Ok(old)) if old.rollout == new.rollout => Some(old),
            _ => None,
        };
        if old.is_some_and(|old| old.release == new.release) {
            return None;
        }
        // What a host of this name is at, or has come to: by the policy before, or, where that has
        // another name, by what it has told itself.
        let begun = self.hosts.values().filter_map(|(record, _)| {
            let is_at_it = record
                .slot
                .as_ref()
                .is_some_and(|slot| slot.rollout == new.rollout);
            let is_done = record.completed_ms(&new.rollout).is_some();
            let told = record.last.as_ref().filter(|_| is_done);
            let told = told.and_then(|last| last.report.as_ref()?.release.clone());
            let release = match old {
                Some(old) => old.release.clone(),
                None => told.filter(|_| new.release.is_some()),
            };
            release.filter(|own| (is_at_it || is_done) && Some(own) != new.release.as_ref())
        });
        let mut begun = begun.peekable();
        let release = begun.peek()?.clone();
        Some((release, begun.count()))
    }

    /// Takes over the changes of a part of a watch.
    pub fn apply(&mut self, keys: &Keys, revision: i64, events: &[Event]) {
        let mut is_about_policy = false;
        for event in events {
            let name = String::from_utf8_lossy(&event.kv.key);
            let key = keys.key(&name);
            is_about_policy |= matches!(key, Some(Key::Policy | Key::Stop));
            if event.kind == "DELETE" {
                self.delete(key);
            } else {
                self.put(keys, &event.kv);
            }
            self.revision = self.revision.max(event.kv.mod_revision);
        }
        self.revision = self.revision.max(revision);
        if is_about_policy {
            self.settle();
        }
    }

    fn put(&mut self, keys: &Keys, pair: &KeyValue) {
        let name = String::from_utf8_lossy(&pair.key);
        let Some(key) = keys.key(&name) else {
            return;
        };
        match key {
            Key::Policy => self.text = Some(String::from_utf8_lossy(&pair.value).into_owned()),
            Key::Stop => self.stop = Some(serde_json::from_slice(&pair.value).unwrap_or_default()),
            Key::Ledger => {
                self.ledger = serde_json::from_slice(&pair.value).unwrap_or_default();
                self.ledger_revision = pair.mod_revision;
            }
            // Its revision is all that it tells.
            Key::Noted => {}
            Key::Presence(id) => {
                let at = String::from_utf8_lossy(&pair.value)
                    .parse()
                    .unwrap_or_default();
                self.presence.insert(id.to_owned(), at);
            }
            Key::Host(id) => match serde_json::from_slice::<Record>(&pair.value) {
                Ok(record) => {
                    self.forget(id);
                    self.tally.add(id, &record);
                    self.hosts
                        .insert(id.to_owned(), (record, pair.mod_revision));
                }
                // What cannot be read may be a slot: it stays as it was.
                Err(why) => tracing::error!("the record of {id} cannot be read: {why}"),
            },
        }
    }

    fn delete(&mut self, key: Option<Key<'_>>) {
        match key {
            Some(Key::Policy) => self.text = None,
            Some(Key::Stop) => self.stop = None,
            Some(Key::Ledger) => (self.ledger, self.ledger_revision) = (Ledger::default(), 0),
            Some(Key::Presence(id)) => drop(self.presence.remove(id)),
            Some(Key::Host(id)) => self.forget(id),
            Some(Key::Noted) | None => {}
        }
    }

    fn forget(&mut self, id: &str) {
        if let Some((record, _)) = self.hosts.remove(id) {
            self.tally.remove(id, &record);
        }
    }

    /// The policy is another one: all is counted anew.
    fn settle(&mut self) {
        self.policy = self.text.as_deref().map(|text| {
            let policy = parse(text).map_err(|why| why.to_string())?;
            let pressed = self.stop.as_ref().map(|stop| short(&stop.reason));
            let stop = pressed.or_else(|| policy.stop.clone());
            Ok(Arc::new(Policy { stop, ..policy }))
        });
        let goal = match &self.policy {
            Some(Ok(policy)) => policy.goal(),
            _ => Goal::default(),
        };
        let records = self.hosts.iter().map(|(id, (record, _))| (id, record));
        self.tally = Tally::of(&goal, records);
    }
}
