// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keeps a copy of the state up with etcd. What is told from it is never older than a few
//! seconds, or it is not told: a majority of etcd's members is asked now and then whether the
//! copy has all there is.
//!
//! A watch can be dead without saying so: its member is cut off from the others, or stands still, or
//! the network drops its packets. Whoever knows of a revision, and waits in vain for the copy to reach
//! it, has the copy begun anew.

use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::keys::{Key, Keys};
use super::known::Known;
use crate::etcd::client::Etcd;
use crate::etcd::watch::Watch;
use crate::seldom::Seldom;

/// How often etcd is asked.
const OFTEN: Duration = Duration::from_secs(2);

/// From what age on the copy is not used.
const OLD: Duration = Duration::from_secs(10);

/// How often it is told that etcd cannot be asked.
const TOLD: Duration = Duration::from_secs(30);

/// How long the copy may lag behind what etcd says it has.
const LAG: Duration = Duration::from_secs(5);

/// A copy of the state.
pub struct Mirror {
    known: RwLock<Known>,
    revision: watch::Sender<i64>,
    /// The newest revision that was waited for in vain.
    missed: watch::Sender<i64>,
    /// When it was last seen to have all there is.
    fresh: RwLock<Option<Instant>>,
    /// Why etcd could not be asked, if it could not when it was asked last.
    trouble: RwLock<Option<String>>,
    told: Seldom,
}

impl Mirror {
    /// A copy that knows nothing yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            known: RwLock::default(),
            revision: watch::Sender::new(0),
            missed: watch::Sender::new(0),
            fresh: RwLock::new(None),
            trouble: RwLock::default(),
            told: Seldom::new(TOLD),
        })
    }

    /// The state. It is held for a moment only.
    pub fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether it is new enough to be used.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        let fresh = self
            .fresh
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        fresh.is_some_and(|at| at.elapsed() < OLD)
    }

    /// The revision, as it changes.
    #[must_use]
    pub fn revisions(&self) -> watch::Receiver<i64> {
        self.revision.subscribe()
    }

    /// Waits until it has everything up to a revision, which etcd has told of. Says whether that came
    /// about in time; if not, the watch is dead, and the copy begins anew.
    pub async fn reaches(&self, revision: i64) -> bool {
        let mut revisions = self.revision.subscribe();
        let reached = revisions.wait_for(|known| *known >= revision);
        let is_reached = matches!(timeout(LAG, reached).await, Ok(Ok(_)));
        if !is_reached {
            self.missed.send_if_modified(|missed| {
                let is_newer = revision > *missed;
                *missed = revision.max(*missed);
                is_newer
            });
        }
        is_reached
    }

    /// Waits until somebody has waited in vain for what it still has not.
    async fn lags(&self) {
        let mut missed = self.missed.subscribe();
        // Its sender lives as long as this does, so it does not end by an error.
        let _ = missed
            .wait_for(|missed| *missed > *self.revision.borrow())
            .await;
    }

    fn is_seen_fresh(&self) {
        let mut fresh = self
            .fresh
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        *fresh = Some(Instant::now());
        let mut trouble = self
            .trouble
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if trouble.take().is_some() {
            self.told.again();
            tracing::info!("etcd answers, and all that is in it is known");
        }
    }

    /// Why etcd cannot be asked, if it is known why.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    fn is_in_trouble(&self, why: &anyhow::Error) {
        let words = format!("{why:#}");
        if self.told.may(std::time::Instant::now()).is_some() {
            tracing::warn!("etcd cannot be asked, and is tried on: {words}");
        }
        *self
            .trouble
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(words);
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self
            .known
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        change(&mut known);
        self.revision.send_replace(known.revision);
    }

    /// Keeps it up, for ever.
    pub async fn keep_up(&self, etcd: &Etcd, keys: &Keys) {
        loop {
            if let Err(why) = self.follow(etcd, keys).await {
                self.is_in_trouble(&why);
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn follow(&self, etcd: &Etcd, keys: &Keys) -> Result<()> {
        let all = etcd.all(&keys.state()).await?;
        let revision = all.header.revision;
        let read = Known::read(keys, revision, &all.kvs);
        let mut watch = Watch::begin(etcd, &keys.state(), revision + 1).await?;
        self.change(|known| *known = read);
        self.is_seen_fresh();
        tokio::select! {
            ended = self.take_over(keys, &mut watch) => ended,
            () = self.probe(etcd, keys) => Ok(()),
            () = self.lags() => bail!("the watch lags behind"),
        }
    }

    async fn take_over(&self, keys: &Keys, watch: &mut Watch) -> Result<()> {
        loop {
            let watched = watch.next().await?;
            if !watched.events.is_empty() {
                // The revision in the header may be newer than the events that have come.
                self.change(|known| known.apply(keys, 0, &watched.events));
            }
        }
    }

    /// Asks etcd, for ever, whether the copy has the last change of the ledger and the last note
    /// beside it.
    async fn probe(&self, etcd: &Etcd, keys: &Keys) {
        loop {
            sleep(OFTEN).await;
            match etcd.all(&keys.name(Key::Ledger)).await {
                Ok(told) => {
                    let last = told.kvs.iter().map(|pair| pair.mod_revision).max();
                    if self.reaches(last.unwrap_or_default()).await {
                        self.is_seen_fresh();
                    }
                }
                Err(why) => self.is_in_trouble(&why),
            }
        }
    }
}
