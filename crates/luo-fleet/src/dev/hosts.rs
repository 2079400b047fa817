// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hosts that are not there, and speak the protocol.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use luo_fleetlock::lock::{Body, ClientParams, PRE_REBOOT, REPORT, STEADY_STATE};
use luo_fleetlock::report::{Asking, Ending, Report};
use tokio::time::sleep;

use super::call::{Caller, Said};

/// What is wrong with a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It never comes back.
    Lost,
    /// It comes back, and is not healthy; it says so.
    Unhealthy,
    /// Its first update is vetoed.
    Vetoed,
    /// It says nothing but what the protocol has.
    Plain,
    /// It asks once more when it has its slot, and is steady twice.
    Twice,
}

/// A host that is not there.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub id: String,
    /// Its group.
    pub group: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What hosts have in common.
#[derive(Debug)]
pub struct World {
    /// The servers; a host goes to the next one when one does not answer.
    pub servers: Vec<String>,
    /// How long an update takes.
    pub update: Duration,
    /// The longest that a host waits before it asks again.
    pub poll: Duration,
    /// Hosts that are at it now.
    pub at_it: AtomicI64,
    /// The most that ever were.
    pub most: AtomicI64,
    /// Hosts that are at it now, by group.
    pub by_group: Mutex<BTreeMap<String, i64>>,
    /// Who has begun, in order.
    pub begun: Mutex<Vec<String>>,
    /// Answers that hosts have got, by kind.
    pub kinds: Mutex<BTreeMap<String, u64>>,
    /// How long answers took: microseconds.
    pub took_us: Mutex<Vec<u32>>,
    /// Calls that nobody answered.
    pub unanswered: AtomicU64,
}

impl World {
    /// Hosts of these servers.
    #[must_use]
    pub fn new(servers: Vec<String>, update: Duration, poll: Duration) -> Arc<Self> {
        Arc::new(Self {
            servers,
            update,
            poll,
            at_it: AtomicI64::new(0),
            most: AtomicI64::new(0),
            by_group: Mutex::default(),
            begun: Mutex::default(),
            kinds: Mutex::default(),
            took_us: Mutex::default(),
            unanswered: AtomicU64::new(0),
        })
    }

    fn begins(&self, host: &Host) {
        let now = self.at_it.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        *locked(&self.by_group)
            .entry(host.group.clone())
            .or_default() += 1;
        locked(&self.begun).push(host.id.clone());
    }

    fn ends(&self, host: &Host) {
        self.at_it.fetch_sub(1, Ordering::SeqCst);
        *locked(&self.by_group)
            .entry(host.group.clone())
            .or_default() -= 1;
    }
}

/// What a lock has.
pub fn locked<T>(lock: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A host's calls, which are made until a server answers.
struct Line<'a> {
    world: &'a World,
    server: usize,
    caller: Caller,
}

impl Line<'_> {
    async fn call(&mut self, path: &str, body: &Body) -> Result<Said> {
        loop {
            let began = Instant::now();
            match self.caller.call(path, body).await {
                Ok(said) => {
                    let took = u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX);
                    locked(&self.world.took_us).push(took);
                    let kind = match &said {
                        Said::Yes => "yes",
                        Said::No(_, refusal, _) => &refusal.kind,
                    };
                    *locked(&self.world.kinds)
                        .entry(kind.to_owned())
                        .or_default() += 1;
                    if !matches!(said, Said::No(500.., _, _)) {
                        return Ok(said);
                    }
                }
                Err(_) => drop(self.world.unanswered.fetch_add(1, Ordering::Relaxed)),
            }
            self.server = (self.server + 1) % self.world.servers.len();
            if let Some(server) = self.world.servers.get(self.server) {
                self.caller = Caller::new(server)?;
            }
            sleep(self.world.poll.min(Duration::from_millis(200))).await;
        }
    }
}

/// What comes of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It is done.
    Done,
    /// It has its slot, and does not give it back.
    Kept,
}

/// A host from its first question to its end. `number` is its place among all.
///
/// # Errors
/// A server's address or answer makes no sense.
pub async fn host(world: &World, host: &Host, number: usize) -> Result<Came> {
    let server = number % world.servers.len().max(1);
    let first = world.servers.get(server).map_or("", String::as_str);
    let mut line = Line {
        world,
        server,
        caller: Caller::new(first)?,
    };
    let mut body = Body {
        client_params: ClientParams {
            id: host.id.clone(),
            group: host.group.clone(),
        },
        liveupdate: None,
        liveupdate_outcome: None,
    };
    let asking = Asking {
        running: Some("7.3.3".to_owned()),
        target: Some("7.3.4".to_owned()),
    };
    let mut is_vetoed = host.fault == Fault::Vetoed;
    loop {
        body.liveupdate = (host.fault != Fault::Plain).then(|| asking.clone());
        body.liveupdate_outcome = None;
        if let Said::No(_, _, again) = line.call(PRE_REBOOT, &body).await? {
            line.caller.hang_up();
            // Not all at once.
            let spread = world.poll.mul_f64((number % 97) as f64 / 97.0);
            sleep(Duration::from_secs(again).min(world.poll) + spread).await;
            continue;
        }
        body.liveupdate = None;
        world.begins(host);
        if host.fault == Fault::Lost {
            return Ok(Came::Kept);
        }
        if is_vetoed {
            is_vetoed = false;
            let mut report = Report::new(Ending::Cancelled);
            report.reason = Some("the cache says no".to_owned());
            body.liveupdate_outcome = Some(report);
            world.ends(host);
            line.call(STEADY_STATE, &body).await?;
            continue;
        }
        if host.fault == Fault::Twice {
            // It holds the slot, so it may be told that it may.
            line.call(PRE_REBOOT, &body).await?;
        }
        line.caller.hang_up();
        sleep(world.update).await;
        let mut report = Report::new(Ending::Completed);
        report.release = Some("7.3.4".to_owned());
        report.blackout_us = Some(350_000 + u64::try_from(number % 50).unwrap_or(0) * 10_000);
        if host.fault == Fault::Unhealthy {
            report.ending = Ending::Failed;
            report.reason = Some("the health command says no".to_owned());
            body.liveupdate_outcome = Some(report);
            line.call(REPORT, &body).await?;
            return Ok(Came::Kept);
        }
        body.liveupdate_outcome = (host.fault != Fault::Plain).then_some(report);
        world.ends(host);
        line.call(STEADY_STATE, &body).await?;
        if host.fault == Fault::Twice {
            line.call(STEADY_STATE, &body).await?;
        }
        return Ok(Came::Done);
    }
}
