// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counters and gauges for Prometheus.

use std::sync::atomic::AtomicU64;

use luo_varlink::{Custody, HistoryEntry, Phase, WorkloadState};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// The label of a phase.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPhase {
    phase: String,
}

/// The label of an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    outcome: String,
}

/// The label of how a workload stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: String,
}

/// The label of who has a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCustody {
    custody: String,
}

/// Upper ends of a histogram's ranges, in seconds: a simulated jump takes milliseconds, a
/// machine with firmware in its way minutes.
const RANGES: [f64; 12] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// Makes a histogram with [`RANGES`].
#[derive(Clone, Copy, Debug)]
struct Ranges;

impl MetricConstructor<Histogram> for Ranges {
    fn new_metric(&self) -> Histogram {
        Histogram::new(RANGES)
    }
}

/// No label at all.
type Alone = [(String, String); 0];

type Seconds = Gauge<f64, AtomicU64>;

/// The counters.
pub struct Metrics {
    registry: Registry,
    phase: Family<OfPhase, Gauge>,
    updates: Family<OfOutcome, Counter>,
    // These are families of one, so that before the first update they are absent, not 0.
    blackout: Family<Alone, Seconds>,
    duration: Family<Alone, Seconds>,
    blackouts: Histogram,
    phases: Family<OfPhase, Histogram, Ranges>,
    workloads: Family<OfState, Gauge>,
    sessions: Family<OfCustody, Gauge>,
    /// Connections that are open.
    pub connections: Gauge,
    /// Connections that were closed because the peer broke a rule.
    pub misbehaved: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("luod"),
            phase: Family::default(),
            updates: Family::default(),
            blackout: Family::default(),
            duration: Family::default(),
            blackouts: Ranges.new_metric(),
            phases: Family::new_with_constructor(Ranges),
            workloads: Family::default(),
            sessions: Family::default(),
            connections: Gauge::default(),
            misbehaved: Counter::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "phase",
            "1 for the phase that the agent is in",
            metrics.phase.clone(),
        );
        registry.register("updates", "Updates that are over", metrics.updates.clone());
        registry.register(
            "last_blackout_seconds",
            "From the first workload that was asked to stand still to the last that served again",
            metrics.blackout.clone(),
        );
        registry.register(
            "last_update_seconds",
            "How long the last update took in all, if that is known",
            metrics.duration.clone(),
        );
        registry.register(
            "blackout_seconds",
            "Blackouts since the agent has started, one for each jump",
            metrics.blackouts.clone(),
        );
        registry.register(
            "phase_seconds",
            "How long the phases of updates took that are over",
            metrics.phases.clone(),
        );
        registry.register(
            "workloads",
            "Workloads that are registered, by how they stand",
            metrics.workloads.clone(),
        );
        registry.register(
            "sessions",
            "Sessions that the agent knows, by who has them",
            metrics.sessions.clone(),
        );
        registry.register(
            "build",
            "The agent that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register(
            "connections",
            "Connections that are open",
            metrics.connections.clone(),
        );
        registry.register(
            "misbehaved",
            "Connections that were closed because the peer broke a rule",
            metrics.misbehaved.clone(),
        );
        metrics.phase(Phase::Normal);
        metrics
    }
}

impl Metrics {
    /// A phase was entered.
    pub fn phase(&self, now: Phase) {
        for &phase in Phase::ALL {
            let label = OfPhase {
                phase: phase.word().to_owned(),
            };
            self.phase
                .get_or_create(&label)
                .set(i64::from(phase == now));
        }
    }

    /// An update is over.
    pub fn over(&self, entry: &HistoryEntry) {
        let label = OfOutcome {
            outcome: entry.outcome.word().to_owned(),
        };
        self.updates.get_or_create(&label).inc();
        let seconds = |us: u64| us as f64 / 1e6;
        if let Some(blackout) = entry.blackout_us {
            self.blackouts.observe(seconds(blackout));
        }
        for time in entry.phases() {
            let label = OfPhase {
                phase: time.phase.word().to_owned(),
            };
            let phase = self.phases.get_or_create(&label);
            if let Some(took) = time.took() {
                phase.observe(seconds(took));
            }
        }
        self.amended(entry);
    }

    /// More is known of the last update. The histograms have counted it already: what they
    /// have counted cannot be taken back.
    pub fn amended(&self, entry: &HistoryEntry) {
        let set = |of: &Family<Alone, Seconds>, us: u64| {
            of.get_or_create(&[]).set(us as f64 / 1e6);
        };
        match entry.took_us {
            Some(took) => set(&self.duration, took),
            // That of an earlier one is not this one's.
            None => self.duration.clear(),
        }
        match entry.blackout_us {
            Some(blackout) => set(&self.blackout, blackout),
            None if entry.lacks_its_blackout() => self.blackout.clear(),
            None => {}
        }
    }

    /// Counts workloads and sessions as they stand. Each state and each custody is there,
    /// if with 0, so that a rule about it finds something.
    pub fn count(
        &self,
        workloads: impl Iterator<Item = WorkloadState>,
        sessions: impl Iterator<Item = Custody>,
    ) {
        let of_state = |state: WorkloadState| OfState {
            state: state.word().to_owned(),
        };
        let of_custody = |custody: Custody| OfCustody {
            custody: custody.word().to_owned(),
        };
        for &state in WorkloadState::ALL {
            self.workloads.get_or_create(&of_state(state)).set(0);
        }
        for &custody in Custody::ALL {
            self.sessions.get_or_create(&of_custody(custody)).set(0);
        }
        for state in workloads {
            self.workloads.get_or_create(&of_state(state)).inc();
        }
        for custody in sessions {
            self.sessions.get_or_create(&of_custody(custody)).inc();
        }
    }

    /// All metrics, as Prometheus reads them.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_an_update_there_is_no_last_one() {
        let metrics = Metrics::default();
        let has = |metrics: &Metrics, line: &str| metrics.text().lines().any(|is| is == line);
        let text = metrics.text();
        assert!(!text.contains("\nluod_last_"), "{text}");
        let entry = HistoryEntry {
            update: "u-1".into(),
            outcome: luo_varlink::Outcome::Completed,
            reason: None,
            began_us: 1,
            took_us: Some(3_500_000),
            blackout_us: Some(250_000),
            from_kernel: "a".into(),
            to_kernel: "b".into(),
            timeline: Vec::new(),
        };
        metrics.over(&entry);
        assert!(has(&metrics, "luod_last_blackout_seconds 0.25"));
        assert!(has(&metrics, "luod_last_update_seconds 3.5"));
        assert!(has(&metrics, "luod_updates_total{outcome=\"completed\"} 1"));
        assert!(has(&metrics, "luod_blackout_seconds_bucket{le=\"0.25\"} 1"));
        assert!(has(&metrics, "luod_blackout_seconds_bucket{le=\"0.1\"} 0"));
        // A workload that comes back late makes no second update of it.
        metrics.amended(&HistoryEntry {
            blackout_us: Some(4_000_000),
            ..entry
        });
        assert!(has(&metrics, "luod_last_blackout_seconds 4.0"));
        assert!(has(&metrics, "luod_blackout_seconds_count 1"));
    }

    #[test]
    fn what_is_not_known_of_the_last_update_is_not_told_of_it() {
        let line = |phase, kind, time_us| luo_varlink::TimelineEvent {
            update: "u-1".into(),
            time_us,
            phase,
            kind,
            workload: None,
            took_us: None,
            detail: None,
        };
        use luo_varlink::TimelineKind::{Phase as Begins, Restored};
        let known = HistoryEntry {
            update: "u-1".into(),
            outcome: luo_varlink::Outcome::Completed,
            reason: None,
            began_us: 5_000_000,
            took_us: Some(3_500_000),
            blackout_us: Some(250_000),
            from_kernel: "a".into(),
            to_kernel: "b".into(),
            timeline: Vec::new(),
        };
        // The clock was set back in the jump.
        let unknown = HistoryEntry {
            took_us: None,
            blackout_us: None,
            timeline: vec![
                line(Phase::Jumping, Begins, 6_000_000),
                line(Phase::Updated, Begins, 1_000_000),
                line(Phase::Updated, Restored, 1_500_000),
            ],
            ..known.clone()
        };
        let metrics = Metrics::default();
        metrics.over(&known);
        metrics.over(&unknown);
        let text = metrics.text();
        assert!(!text.contains("\nluod_last_"), "{text}");
        assert!(text.contains("luod_updates_total{outcome=\"completed\"} 2"));
        assert!(
            !text.contains("luod_phase_seconds_count{phase=\"jumping\"} 1"),
            "{text}"
        );
    }

    #[test]
    fn workloads_and_sessions_are_counted_as_they_stand() {
        use WorkloadState::{Left, Running};
        let metrics = Metrics::default();
        let count = |states: &[WorkloadState]| {
            metrics.count(states.iter().copied(), [Custody::Agent].into_iter());
            metrics.text()
        };
        let text = count(&[Running, Running, Left]);
        assert!(
            text.contains("luod_workloads{state=\"running\"} 2\n"),
            "{text}"
        );
        assert!(
            text.contains("luod_sessions{custody=\"agent\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("luod_sessions{custody=\"kernel\"} 0\n"),
            "{text}"
        );
        let text = count(&[]);
        assert!(
            text.contains("luod_workloads{state=\"running\"} 0\n"),
            "{text}"
        );
        assert!(text.contains("luod_build_info{version="), "{text}");
    }

    #[test]
    fn there_is_one_phase_at_a_time() {
        let metrics = Metrics::default();
        metrics.phase(Phase::Frozen);
        let text = metrics.text();
        assert!(text.contains("luod_phase{phase=\"frozen\"} 1"), "{text}");
        assert!(text.contains("luod_phase{phase=\"normal\"} 0"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
