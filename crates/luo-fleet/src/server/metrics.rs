// SPDX-License-Identifier: MIT OR Apache-2.0
//! What Prometheus gets. What is in etcd is told alike by each server; counters are the
//! server's own.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use luo_fleetlock::status::{Fleet, HostState};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type Labels = Vec<(&'static str, String)>;

/// A server's own counters.
pub struct Metrics {
    /// Answers to hosts that ask for a slot, by their kind.
    decisions: Family<Labels, Counter>,
    /// How long such an answer took.
    took: Histogram,
    registry: Mutex<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counters at zero.
    #[must_use]
    pub fn new() -> Self {
        let decisions = Family::<Labels, Counter>::default();
        let took = Histogram::new(exponential_buckets(0.0005, 2.0, 14));
        let mut registry = Registry::with_prefix("luo_fleet");
        registry.register(
            "decisions",
            "Answers to hosts that ask for a slot, by their kind",
            decisions.clone(),
        );
        registry.register(
            "decision_seconds",
            "How long such an answer took",
            took.clone(),
        );
        Self {
            decisions,
            took,
            registry: Mutex::new(registry),
        }
    }

    /// Counts an answer.
    pub fn decided(&self, kind: &str, seconds: f64) {
        let labels = vec![("kind", kind.to_owned())];
        self.decisions.get_or_create(&labels).inc();
        self.took.observe(seconds);
    }

    /// All of them, with how the fleet stands. Where that is not known, nothing is said of it.
    #[must_use]
    pub fn text(&self, fleet: Option<&Fleet>, clock_lag_ms: i64) -> String {
        let mut text = String::new();
        let is_fresh = fleet.is_some();
        let now = Registry::with_prefix("luo_fleet");
        let mut now = match fleet {
            Some(fleet) => standing(now, fleet),
            None => now,
        };
        gauge(
            &mut now,
            "up",
            "Whether etcd answers and all is known",
            i64::from(is_fresh),
        );
        gauge(
            &mut now,
            "clock_behind_milliseconds",
            "How far the clock is behind that of the server which changed something last",
            clock_lag_ms.max(0),
        );
        let own = self
            .registry
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        // Writing to a text does not fail.
        let _ = encode(&mut text, &own);
        let end = text.rfind("# EOF").unwrap_or(text.len());
        text.truncate(end);
        let _ = encode(&mut text, &now);
        text
    }
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: i64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

fn standing(mut registry: Registry, fleet: &Fleet) -> Registry {
    let hosts = Family::<Labels, Gauge>::default();
    for host in &fleet.hosts {
        let labels = vec![
            ("group", host.group.clone()),
            ("state", word(host.state).to_owned()),
        ];
        hosts.get_or_create(&labels).inc();
    }
    registry.register("hosts", "Hosts, by group and state", hosts);
    let slots = Family::<Labels, Gauge>::default();
    let taken = Family::<Labels, Gauge>::default();
    let blackout = Family::<Labels, Gauge<f64, AtomicU64>>::default();
    for group in &fleet.groups {
        let labels = vec![("group", group.name.clone())];
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        slots.get_or_create(&labels).set(number(group.slots));
        taken.get_or_create(&labels).set(number(group.slots_taken));
        for (quantile, us) in [
            ("0.5", group.blackout_median_us),
            ("1", group.blackout_max_us),
        ] {
            if let Some(us) = us {
                let mut labels = labels.clone();
                labels.push(("quantile", quantile.to_owned()));
                blackout.get_or_create(&labels).set(us as f64 / 1e6);
            }
        }
    }
    registry.register("slots", "Slots that a group has", slots);
    registry.register("slots_taken", "Slots of a group that are taken", taken);
    registry.register(
        "blackout_seconds",
        "Blackouts of this rollout, by group",
        blackout,
    );
    let oldest = fleet
        .hosts
        .iter()
        .filter_map(|host| host.slot_since_ms)
        .min();
    let age = oldest.map_or(0, |since| fleet.now_ms.saturating_sub(since) / 1_000);
    gauge(
        &mut registry,
        "oldest_slot_seconds",
        "For how long the oldest slot is taken",
        age,
    );
    for (name, is) in [("halted", "Halted"), ("complete", "Complete")] {
        gauge(
            &mut registry,
            name,
            "Whether the rollout is so",
            i64::from(fleet.is(is)),
        );
    }
    registry
}

/// A state, as a word.
#[must_use]
pub const fn word(state: HostState) -> &'static str {
    match state {
        HostState::Waiting => "waiting",
        HostState::Silent => "silent",
        HostState::Updating => "updating",
        HostState::Failed => "failed",
        HostState::Done => "done",
        HostState::Held => "held",
    }
}

/// How far a clock is behind a moment: milliseconds.
#[must_use]
pub fn behind(now: Timestamp, ledger_ms: i64) -> i64 {
    ledger_ms.saturating_sub(now.as_millisecond())
}
