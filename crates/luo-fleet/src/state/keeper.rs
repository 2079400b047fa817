// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is done: slots are given and taken back, failures are noted, an administrator acts.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use luo_fleetlock::limits::short;
use luo_fleetlock::lock::ClientParams;
use luo_fleetlock::report::{Asking, Report};
use tokio::sync::mpsc;

use super::change::{Change, Changer, Clock, Undone, stamp};
use super::keys::{Key, Keys};
use super::known::{Known, Stop};
use super::mirror::Mirror;
use super::notes::{Note, WAITING, Writer};
use crate::decide::decision::Decision;
use crate::decide::rules::{Question, decide};
use crate::etcd::client::Etcd;
use crate::etcd::wire::{delete, put};
use crate::policy::parse::parse;

/// A slot that is asked for again after so long is dated anew.
const DATED_MS: i64 = 60_000;

/// What an administrator does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hand {
    /// A host gets no slot.
    Hold,
    /// It may have one again.
    Resume,
    /// Its slot is taken.
    Release,
    /// It is gone for good.
    Forget,
}

/// Why something is done by hand, as far as it is kept.
///
/// # Errors
/// It is not said.
fn said(reason: &str) -> Result<String, Undone> {
    let reason = short(reason);
    match reason.trim().is_empty() {
        true => Err(Undone::Senseless("say why: a reason is wanted".to_owned())),
        false => Ok(reason),
    }
}

/// Does what is to be done.
pub struct Keeper {
    changer: Changer,
    /// The state.
    pub mirror: Arc<Mirror>,
    notes: mpsc::Sender<Note>,
    max_hosts: usize,
}

/// What a keeper needs.
pub struct Parts {
    /// etcd.
    pub etcd: Arc<Etcd>,
    /// The names.
    pub keys: Keys,
    /// What time it is.
    pub clock: Clock,
    /// How long a host counts as present after it was heard of.
    pub presence: Duration,
    /// How many hosts are let in.
    pub max_hosts: usize,
}

impl Keeper {
    /// Begins to keep up with etcd.
    #[must_use]
    pub fn begin(parts: Parts) -> Arc<Self> {
        let mirror = Mirror::new();
        let (notes, noted) = mpsc::channel(WAITING);
        let writer = Writer {
            etcd: Arc::clone(&parts.etcd),
            keys: parts.keys.clone(),
            mirror: Arc::clone(&mirror),
            presence: parts.presence,
            max_hosts: parts.max_hosts,
        };
        tokio::spawn(writer.run(noted));
        let (etcd, keys, own) = (
            Arc::clone(&parts.etcd),
            parts.keys.clone(),
            Arc::clone(&mirror),
        );
        tokio::spawn(async move { own.keep_up(&etcd, &keys).await });
        let own = Arc::clone(&mirror);
        Arc::new(Self {
            changer: Changer::new(parts.etcd, parts.keys, own, parts.clock),
            mirror,
            notes,
            max_hosts: parts.max_hosts,
        })
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.changer.now()
    }

    /// etcd.
    #[must_use]
    pub fn etcd(&self) -> &Etcd {
        &self.changer.etcd
    }

    /// The names.
    #[must_use]
    pub const fn keys(&self) -> &Keys {
        &self.changer.keys
    }

    /// Whether how the fleet stands is known.
    ///
    /// # Errors
    /// It is not: etcd cannot be asked.
    pub fn fresh(&self) -> Result<(), Undone> {
        self.changer.fresh()
    }

    fn decided(
        &self,
        known: &Known,
        who: &ClientParams,
        asking: Option<&Asking>,
        now: Timestamp,
    ) -> Result<Decision, Undone> {
        let policy = match known.policy() {
            Ok(policy) => policy,
            Err(halt) => return Ok(Decision::Halted(halt)),
        };
        let record = known.record(&who.id);
        let holds = record.filter(|record| record.slot.is_some());
        let group = holds.map_or(&who.group, |record| &record.group);
        let Some(group) = policy.group(group) else {
            return Err(Undone::NoSuchGroup(group.clone()));
        };
        if record.is_none() && known.hosts.len() >= self.max_hosts {
            return Err(Undone::TooManyHosts(self.max_hosts));
        }
        let question = Question {
            id: &who.id,
            group,
            record,
            asking,
        };
        Ok(decide(policy, &known.tally, &question, now))
    }

    /// A host asks for a slot. One that may not begin costs etcd nothing.
    ///
    /// # Errors
    /// It cannot be decided.
    pub async fn ask(
        &self,
        who: &ClientParams,
        asking: Option<&Asking>,
    ) -> Result<Decision, Undone> {
        self.changer.fresh()?;
        let now = self.now();
        let decision = self.decided(&self.mirror.known(), who, asking, now)?;
        self.note(who, asking, now);
        if decision != Decision::Permit {
            return Ok(decision);
        }
        let mut answer = Decision::Permit;
        let change = |known: &Known, now: Timestamp| {
            answer = self.decided(known, who, asking, now)?;
            let rollout = match known.policy() {
                Ok(policy) if answer == Decision::Permit => policy.rollout.clone(),
                _ => return Ok(None),
            };
            let now_ms = stamp(known, now);
            let before = known.record(&who.id).cloned();
            let has_slot = before.as_ref().and_then(|record| record.slot.as_ref());
            let what = match has_slot {
                Some(slot) if now_ms.saturating_sub(slot.since_ms) < DATED_MS => return Ok(None),
                Some(_) => "granted-again",
                None => "granted",
            };
            let mut record = before.unwrap_or_default();
            if record.slot.is_none() {
                record.group.clone_from(&who.group);
            }
            if let Some(running) = asking.and_then(|asking| asking.running.as_ref()) {
                record.running = Some(short(running));
            }
            record.take(now_ms, &rollout);
            Ok(Some(Change {
                record: Some(record),
                what,
                by: who.id.clone(),
                reason: None,
            }))
        };
        self.changer.change(&who.id, change).await?;
        Ok(answer)
    }

    /// A host is steady. Says whether it gave back a slot.
    ///
    /// # Errors
    /// It is not done.
    pub async fn steady(&self, who: &ClientParams, report: Option<Report>) -> Result<bool, Undone> {
        self.changer.fresh()?;
        self.note(who, None, self.now());
        let has_slot = |known: &Known| {
            known
                .record(&who.id)
                .is_some_and(|record| record.slot.is_some())
        };
        if !has_slot(&self.mirror.known()) {
            // Another server may have given it a moment ago.
            let told = self
                .changer
                .etcd
                .get(&self.changer.keys.name(Key::Host(&who.id)))
                .await?;
            let last = told.kvs.first().map_or(0, |pair| pair.mod_revision);
            if !self.mirror.reaches(last).await {
                return Err(Undone::Unavailable(anyhow::anyhow!(
                    "the state lags behind"
                )));
            }
        }
        let report = report.map(Report::bounded);
        let change = |known: &Known, now: Timestamp| {
            let Some(mut record) = known.record(&who.id).cloned() else {
                return Ok(None);
            };
            if !record.give_back(stamp(known, now), report.clone()) {
                return Ok(None);
            }
            Ok(Some(Change {
                record: Some(record),
                what: "returned",
                by: who.id.clone(),
                reason: report.as_ref().map(|report| {
                    let why = report.reason.as_deref().unwrap_or_default();
                    format!("{:?} {why}", report.ending)
                        .trim_end()
                        .to_lowercase()
                }),
            }))
        };
        self.changer.change(&who.id, change).await
    }

    /// A host tells that its update failed; it keeps its slot. Says whether that is new.
    ///
    /// # Errors
    /// It is not done.
    pub async fn fail(&self, who: &ClientParams, report: Report) -> Result<bool, Undone> {
        self.changer.fresh()?;
        self.note(who, None, self.now());
        let why = report.bounded().reason;
        let why = why.unwrap_or_else(|| "the host does not say why".to_owned());
        let change = |known: &Known, _| {
            let Some(mut record) = known.record(&who.id).cloned() else {
                return Ok(None);
            };
            Ok(record.fail(&why).then(|| Change {
                record: Some(record),
                what: "failed",
                by: who.id.clone(),
                reason: Some(why.clone()),
            }))
        };
        self.changer.change(&who.id, change).await
    }

    /// An administrator does something to a host. Says whether that changed anything.
    ///
    /// # Errors
    /// It is not done.
    pub async fn by_hand(
        &self,
        hand: &Hand,
        host: &str,
        reason: &str,
        by: &str,
    ) -> Result<bool, Undone> {
        self.changer.fresh()?;
        let reason = said(reason)?;
        let change = |known: &Known, now: Timestamp| {
            let Some(mut record) = known.record(host).cloned() else {
                return Err(Undone::NoSuchHost(host.to_owned()));
            };
            let (is_new, what) = match hand {
                Hand::Hold => {
                    let before = record.held.replace(reason.clone());
                    (before.as_ref() != Some(&reason), "hold")
                }
                Hand::Resume => (record.held.take().is_some(), "resume"),
                Hand::Release => (record.release(stamp(known, now)), "release"),
                Hand::Forget if record.slot.is_some() => {
                    let why = format!("{host} has a slot: release it before");
                    return Err(Undone::Senseless(why));
                }
                Hand::Forget => (true, "forget"),
            };
            Ok(is_new.then(|| Change {
                record: (*hand != Hand::Forget).then_some(record),
                what,
                by: by.to_owned(),
                reason: Some(reason.clone()),
            }))
        };
        self.changer.change(host, change).await
    }

    /// The stop switch is pressed, or let go with no reason.
    ///
    /// # Errors
    /// It is not done.
    pub async fn stop(&self, reason: Option<&str>, why: &str, by: &str) -> Result<(), Undone> {
        said(why)?;
        let key = self.changer.keys.name(Key::Stop);
        let operation = match reason {
            Some(reason) => {
                let stop = Stop {
                    reason: short(reason),
                    by: by.to_owned(),
                };
                put(&key, serde_json::to_vec(&stop).context("the stop")?, None)
            }
            None => delete(&key, None),
        };
        let what = if reason.is_some() { "stop" } else { "go" };
        self.changer.document(operation, what, why, by).await
    }

    /// The policy is another one from now on.
    ///
    /// # Errors
    /// It is not done: it cannot be used, or has another release under the name of the rollout
    /// before, whose hosts would count as done.
    pub async fn set_policy(&self, text: &str, why: &str, by: &str) -> Result<(), Undone> {
        said(why)?;
        let new = parse(text).map_err(|why| Undone::Senseless(why.to_string()))?;
        let is_other = self.mirror.known().has_begun_another_release(&new);
        if let Some((release, hosts)) = is_other {
            let rollout = &new.rollout;
            return Err(Undone::Senseless(format!(
                "the rollout {rollout:?} is about {release}, and hosts have completed it, or are at \
                 it: {hosts}. They would count as done, canaries too. Give the policy another rollout = \
                 \"NAME\""
            )));
        }
        let key = self.changer.keys.name(Key::Policy);
        self.changer
            .document(put(&key, text, None), "policy", why, by)
            .await
    }

    /// Notes that a host was heard of. If too many are, it comes again. Strangers that are not let in
    /// take no room from others.
    fn note(&self, who: &ClientParams, asking: Option<&Asking>, now: Timestamp) {
        {
            let known = self.mirror.known();
            if known.record(&who.id).is_none() && known.hosts.len() >= self.max_hosts {
                return;
            }
        }
        let running = asking.and_then(|asking| asking.running.as_deref());
        let target = asking.and_then(|asking| asking.target.as_deref());
        let note = Note {
            id: who.id.clone(),
            group: who.group.clone(),
            running: running.map(short),
            target: target.map(short),
            at_ms: now.as_millisecond(),
        };
        let _ = self.notes.try_send(note);
    }
}
