// SPDX-License-Identifier: MIT OR Apache-2.0
//! Changes of the state: each is one transaction that compares what was decided by, and writes
//! the ledger and a line of the log.

use std::sync::Arc;

use anyhow::{Context, Result};
use jiff::Timestamp;
use luo_fleetlock::limits::short;
use luo_fleetlock::status::AuditLine;
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard, Semaphore};

use super::audit::{DROPPED_AT, KEPT};
use super::keys::{Key, Keys};
use super::known::{Known, Ledger};
use super::mirror::Mirror;
use crate::decide::record::Record;
use crate::etcd::client::Etcd;
use crate::etcd::wire::{delete, is_at, put, txn};

/// How often a change is tried that others came before.
const TRIES: usize = 16;

/// Calls that wait for their turn to change something. More are told to come again.
const QUEUE: usize = 4_096;

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub enum Undone {
    /// etcd cannot be asked, or not in time. Nothing may have been done.
    #[error("etcd cannot be asked: {0:#}")]
    Unavailable(anyhow::Error),
    /// Too many wait.
    #[error("too many hosts change something at once")]
    Busy,
    /// The policy has no such group.
    #[error("the policy has no group {0}")]
    NoSuchGroup(String),
    /// There is no such host.
    #[error("no host {0} is known")]
    NoSuchHost(String),
    /// No more hosts are let in.
    #[error("{0} hosts are known, and no more are let in (max_hosts)")]
    TooManyHosts(usize),
    /// It makes no sense for this host as it stands.
    #[error("{0}")]
    Senseless(String),
}

impl From<anyhow::Error> for Undone {
    fn from(why: anyhow::Error) -> Self {
        Self::Unavailable(why)
    }
}

/// A clock: milliseconds since 1970.
pub type Clock = Box<dyn Fn() -> Timestamp + Send + Sync>;

/// A change of a host's record, and how the log tells of it.
pub struct Change {
    /// The record from now on; none if the host is forgotten.
    pub record: Option<Record>,
    /// A word.
    pub what: &'static str,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

/// The date of a change: milliseconds since 1970. It is never before that of an earlier change,
/// whatever the clock of this server says. Windows go by the clock alone.
#[must_use]
pub fn stamp(known: &Known, now: Timestamp) -> i64 {
    now.as_millisecond().max(known.ledger.at_ms)
}

/// Makes changes.
pub struct Changer {
    /// etcd.
    pub etcd: Arc<Etcd>,
    /// The names.
    pub keys: Keys,
    /// The state.
    pub mirror: Arc<Mirror>,
    clock: Clock,
    turns: Turns,
}

/// One change at a time: this server's own would only come before each other.
struct Turns {
    turn: Mutex<()>,
    queue: Semaphore,
}

impl Turns {
    fn new() -> Self {
        Self {
            turn: Mutex::new(()),
            queue: Semaphore::new(QUEUE),
        }
    }

    /// Waits for a turn. Whoever gives up meanwhile leaves the queue.
    async fn take(&self) -> Result<MutexGuard<'_, ()>, Undone> {
        let place = self.queue.try_acquire().map_err(|_| Undone::Busy)?;
        let turn = self.turn.lock().await;
        drop(place);
        Ok(turn)
    }
}

impl Changer {
    /// Makes changes there.
    #[must_use]
    pub fn new(etcd: Arc<Etcd>, keys: Keys, mirror: Arc<Mirror>, clock: Clock) -> Self {
        Self {
            etcd,
            keys,
            mirror,
            clock,
            turns: Turns::new(),
        }
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Whether the state is known well enough.
    ///
    /// # Errors
    /// It is too old.
    pub fn fresh(&self) -> Result<(), Undone> {
        if self.mirror.is_fresh() {
            return Ok(());
        }
        let why = self.mirror.trouble();
        let why = why.unwrap_or_else(|| "what is known of the fleet is too old".to_owned());
        Err(Undone::Unavailable(anyhow::anyhow!(why)))
    }

    /// A change that is about no host.
    ///
    /// # Errors
    /// It is not made.
    pub async fn document(
        &self,
        operation: Value,
        what: &'static str,
        why: &str,
        by: &str,
    ) -> Result<(), Undone> {
        for _ in 0..TRIES {
            let (ledger, ledger_revision) = {
                let known = self.mirror.known();
                (known.ledger, known.ledger_revision)
            };
            let change = Change {
                record: None,
                what,
                by: by.to_owned(),
                reason: Some(short(why)),
            };
            let operations = vec![operation.clone()];
            let compare = Vec::new();
            if self
                .write(
                    (ledger, ledger_revision),
                    None,
                    &change,
                    compare,
                    operations,
                )
                .await?
            {
                return Ok(());
            }
        }
        Err(Undone::Busy)
    }

    /// Changes a host's record, as it stands when nobody else changes anything.
    ///
    /// # Errors
    /// It is not made, or makes no sense.
    pub async fn change(
        &self,
        id: &str,
        mut change: impl FnMut(&Known, Timestamp) -> Result<Option<Change>, Undone>,
    ) -> Result<bool, Undone> {
        let turn = self.turns.take().await?;
        let done = self.change_in_turn(id, &mut change).await;
        drop(turn);
        done
    }

    async fn change_in_turn(
        &self,
        id: &str,
        change: &mut impl FnMut(&Known, Timestamp) -> Result<Option<Change>, Undone>,
    ) -> Result<bool, Undone> {
        for _ in 0..TRIES {
            self.fresh()?;
            let (changed, ledger, revision) = {
                let known = self.mirror.known();
                let changed = change(&known, self.now())?;
                let revision = known.hosts.get(id).map_or(0, |(_, revision)| *revision);
                (changed, (known.ledger, known.ledger_revision), revision)
            };
            let Some(changed) = changed else {
                return Ok(false);
            };
            let key = self.keys.name(Key::Host(id));
            let operation = match &changed.record {
                Some(record) => put(&key, serde_json::to_vec(record).context("a record")?, None),
                None => delete(&key, None),
            };
            let compare = vec![is_at(&key, revision)];
            if self
                .write(ledger, Some(id), &changed, compare, vec![operation])
                .await?
            {
                return Ok(true);
            }
        }
        Err(Undone::Busy)
    }

    /// One transaction, and the wait until the mirror has seen what came of it. Says whether all
    /// was as it was compared with.
    async fn write(
        &self,
        (ledger, ledger_revision): (Ledger, i64),
        host: Option<&str>,
        change: &Change,
        mut compare: Vec<Value>,
        mut operations: Vec<Value>,
    ) -> Result<bool, Undone> {
        let number = ledger.number.saturating_add(1);
        let at_ms = self.now().as_millisecond().max(ledger.at_ms);
        let line = AuditLine {
            number,
            at_ms,
            what: change.what.to_owned(),
            host: host.map(str::to_owned),
            by: change.by.clone(),
            reason: change.reason.clone(),
        };
        let key = self.keys.name(Key::Ledger);
        compare.push(is_at(&key, ledger_revision));
        let ledger = serde_json::to_vec(&Ledger { number, at_ms }).context("the ledger")?;
        operations.push(put(&key, ledger, None));
        let told = serde_json::to_vec(&line).context("the log")?;
        operations.push(put(&self.keys.audit_line(number), told, None));
        if number.is_multiple_of(DROPPED_AT) {
            let first = self.keys.audit_line(0);
            let kept = self.keys.audit_line(number.saturating_sub(KEPT));
            operations.push(delete(&first, Some(&kept)));
        }
        let done = self.etcd.txn(&txn(compare, operations)).await?;
        // The store's own revision may be that of somebody else's keys, so what was compared with
        // is asked for.
        let mut newest = done.header.revision;
        if !done.succeeded {
            newest = 0;
            let own = host.map(|id| self.keys.name(Key::Host(id)));
            for key in std::iter::once(key).chain(own) {
                let told = self.etcd.get(&key).await?;
                let last = told.kvs.first().map_or(0, |pair| pair.mod_revision);
                newest = newest.max(last);
            }
        }
        if !self.mirror.reaches(newest).await {
            // A change that is made is made; one that is not is tried again by the caller.
            tracing::warn!("the state lags behind what was written");
            if !done.succeeded {
                return Err(Undone::Unavailable(anyhow::anyhow!(
                    "the state lags behind"
                )));
            }
        }
        if done.succeeded {
            let host = host.unwrap_or_default();
            let why = line.reason.as_deref().unwrap_or_default();
            tracing::info!(target: "audit", number, host, by = line.by, "{} {why}", line.what);
        }
        Ok(done.succeeded)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn who_gives_up_while_it_waits_for_its_turn_leaves_the_queue() {
        let turns = Turns::new();
        let first = turns.take().await.unwrap();
        for _ in 0..=QUEUE {
            let waits = pin!(turns.take()).poll(&mut Context::from_waker(Waker::noop()));
            assert!(waits.is_pending());
        }
        drop(first);
        drop(turns.take().await.unwrap());
    }
}
