// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hosts that are new, and who was heard of. Both are written many at once, each under its own
//! condition, and none of it touches the ledger: a flood of hosts costs a few transactions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::keys::{Key, Keys};
use super::mirror::Mirror;
use crate::decide::record::Record;
use crate::etcd::client::Etcd;
use crate::etcd::wire::{is_at, put, txn};

/// Notes that wait to be written. More are dropped: the host comes again.
pub const WAITING: usize = 16_384;

/// Notes of one transaction; etcd's own limit is 128 operations.
const TOGETHER: usize = 60;

/// How long notes are gathered.
const GATHER: Duration = Duration::from_millis(100);

/// What is noted of a host that was heard of.
#[derive(Clone, Debug)]
pub struct Note {
    /// Its name.
    pub id: String,
    /// Its group.
    pub group: String,
    /// The kernel's release that it runs, if it told.
    pub running: Option<String>,
    /// The one that it would start, if it told.
    pub target: Option<String>,
    /// When: milliseconds since 1970.
    pub at_ms: i64,
}

/// Writes notes.
pub struct Writer {
    /// etcd.
    pub etcd: Arc<Etcd>,
    /// The names.
    pub keys: Keys,
    /// What is known.
    pub mirror: Arc<Mirror>,
    /// How long a host counts as present after it was heard of.
    pub presence: Duration,
    /// How many hosts are let in. Servers that let in different ones at the same moment may come
    /// to more, by what one transaction of each lets in.
    pub max_hosts: usize,
}

impl Writer {
    /// Writes, until nobody notes any more.
    pub async fn run(self, mut notes: mpsc::Receiver<Note>) {
        let mut lease: Option<(i64, Instant)> = None;
        let mut written = BTreeMap::<String, Instant>::new();
        while let Some(first) = notes.recv().await {
            let mut batch = BTreeMap::from([(first.id.clone(), first)]);
            let gather = async {
                while batch.len() < TOGETHER {
                    match notes.recv().await {
                        Some(note) => drop(batch.insert(note.id.clone(), note)),
                        None => return,
                    }
                }
            };
            let _ = timeout(GATHER, gather).await;
            let now = Instant::now();
            // One lease does for all that are heard of within an eighth of its time.
            let is_usable = |(_, since): &(i64, Instant)| now - *since < self.presence / 8;
            if !lease.as_ref().is_some_and(is_usable) {
                match self.etcd.lease(self.presence.as_secs().max(1)).await {
                    Ok(id) => lease = Some((id, now)),
                    Err(why) => {
                        tracing::warn!("who is present cannot be noted: {why:#}");
                        sleep(GATHER).await;
                        continue;
                    }
                }
                written.retain(|_, at| now - *at < self.presence / 3);
            }
            batch.retain(|id, note| {
                let is_old = written
                    .get(id)
                    .is_none_or(|at| now - *at >= self.presence / 3);
                is_old || self.is_news(note)
            });
            let Some((lease, _)) = lease else { continue };
            match self.write(lease, &batch).await {
                Ok(ids) => written.extend(ids.into_iter().map(|id| (id, now))),
                Err(why) => tracing::warn!("hosts cannot be noted: {why:#}"),
            }
        }
    }

    /// Whether the host's record would be another one.
    fn is_news(&self, note: &Note) -> bool {
        let known = self.mirror.known();
        let record = known.record(&note.id);
        record.is_none_or(|record| changed(record, note).is_some())
    }

    /// Writes what there is room for, and says of which hosts that is.
    async fn write(&self, lease: i64, batch: &BTreeMap<String, Note>) -> Result<Vec<String>> {
        let mut room = {
            let known = self.mirror.known();
            self.max_hosts.saturating_sub(known.hosts.len())
        };
        let (mut all, mut ids) = (Vec::new(), Vec::new());
        for note in batch.values() {
            if self.mirror.known().record(&note.id).is_none() {
                let Some(left) = room.checked_sub(1) else {
                    continue;
                };
                room = left;
            }
            ids.push(note.id.clone());
            let presence = self.keys.name(Key::Presence(&note.id));
            all.push(put(&presence, note.at_ms.to_string(), Some(lease)));
            if let Some(noted) = self.record(note)? {
                all.push(noted);
            }
        }
        if !all.is_empty() {
            all.push(put(&self.keys.name(Key::Noted), "", None));
            let done = self.etcd.txn(&txn(Vec::new(), all)).await?;
            // Whoever is let in is counted before the next ones are. If that lasts, they come
            // again.
            self.mirror.reaches(done.header.revision).await;
        }
        Ok(ids)
    }

    /// The record of a host that is new, or tells of itself what is new. It is put only where
    /// nobody has changed it meanwhile.
    fn record(&self, note: &Note) -> Result<Option<Value>> {
        let (record, revision) = {
            let known = self.mirror.known();
            match known.hosts.get(&note.id) {
                Some((record, revision)) => (changed(record, note), *revision),
                None => {
                    let record = Record {
                        group: note.group.clone(),
                        running: note.running.clone(),
                        target: note.target.clone(),
                        ..Record::default()
                    };
                    (Some(record), 0)
                }
            }
        };
        let Some(record) = record else {
            return Ok(None);
        };
        let key = self.keys.name(Key::Host(&note.id));
        let value = serde_json::to_vec(&record)?;
        let own = txn(vec![is_at(&key, revision)], vec![put(&key, value, None)]);
        Ok(Some(json!({ "request_txn": own })))
    }
}

/// The record with what the host tells of itself, if that is new. One that has a slot keeps its
/// group.
fn changed(record: &Record, note: &Note) -> Option<Record> {
    let mut new = record.clone();
    if record.slot.is_none() {
        new.group.clone_from(&note.group);
    }
    if note.running.is_some() {
        new.running.clone_from(&note.running);
    }
    if note.target.is_some() {
        new.target.clone_from(&note.target);
    }
    (new != *record).then_some(new)
}
