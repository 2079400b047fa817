// SPDX-License-Identifier: MIT OR Apache-2.0
//! Events of the agent. Each becomes a line for those who watch, a line of the log, and one
//! of the update's own timeline.

use std::sync::Arc;
use std::time::Duration;

use luo_timeline::Moment;
use luo_varlink::{Phase, TimelineEvent, TimelineKind};

use super::Agent;
use super::clock::micros;
use super::state::{Place, Restore};
use crate::journal::clock::Clock;
use crate::manager::notify;

/// Lines that a timeline keeps. Later ones go to watchers and the log only.
const MOST: usize = 100_000;

/// The contents of a line that is about to be written.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    workload: Option<String>,
    took: Option<Duration>,
    detail: Option<String>,
}

impl Line {
    pub(super) fn of(workload: &str) -> Self {
        Self {
            workload: Some(workload.to_owned()),
            ..Self::default()
        }
    }

    pub(super) fn text(detail: impl Into<String>) -> Self {
        Self::default().with(detail)
    }

    pub(super) fn with(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(super) fn took(mut self, took: Duration) -> Self {
        self.took = Some(took);
        self
    }
}

/// The lines of a timeline for the history. Watchers may still share some of them.
pub(super) fn lines(timeline: Vec<Arc<TimelineEvent>>) -> Vec<TimelineEvent> {
    timeline.into_iter().map(Arc::unwrap_or_clone).collect()
}

/// Microseconds by which this kernel's clock is behind the one of an earlier moment, if that is
/// known by now.
pub(super) fn behind_us(earlier: &Moment, now: &Moment) -> Option<i64> {
    let since = earlier.until(now)?;
    let by_earlier = earlier.time_us.saturating_add(since);
    let ahead = i64::try_from(by_earlier.abs_diff(now.time_us)).unwrap_or(0);
    match by_earlier < now.time_us {
        true => Some(-ahead),
        false => Some(ahead),
    }
}

impl Restore {
    /// Looks once more by how much this kernel's clock is behind. Where that was set in the jump,
    /// only the rate of the counter tells, and a luod that has just started does not know that:
    /// what it has noted until it does is set right.
    pub(super) fn learn_its_clock(&mut self, now: impl FnOnce() -> Moment) {
        if self.behind_us.is_some() {
            return;
        }
        self.behind_us = behind_us(&self.record.freeze, &now());
        let behind = self.behind_us.unwrap_or(0);
        let own = self.timeline.iter_mut().skip(self.record.timeline.len());
        for event in own {
            let event = Arc::make_mut(event);
            event.time_us = event.time_us.saturating_add_signed(behind);
        }
    }
}

impl Agent {
    /// Notes a line.
    pub(super) fn note(&self, kind: TimelineKind, line: Line) {
        self.changes.set(self.changes.get().wrapping_add(1));
        let mut state = self.state.borrow_mut();
        let clock = state.clock();
        if let Some(restore) = &mut state.restore {
            restore.learn_its_clock(|| self.moment_by(clock));
        }
        let event = Arc::new(TimelineEvent {
            update: state.update_id().unwrap_or_default().to_owned(),
            time_us: state.time_us(),
            phase: state.phase.0,
            kind,
            workload: line.workload,
            took_us: line.took.map(micros),
            detail: line.detail,
        });
        let state = &mut *state;
        let timeline = match (&mut state.update, &mut state.restore) {
            (Some(update), _) => Some(&mut update.timeline),
            (None, Some(restore)) => Some(&mut restore.timeline),
            (None, None) => None,
        };
        if let Some(timeline) = timeline.filter(|timeline| timeline.len() < MOST) {
            timeline.push(Arc::clone(&event));
        }
        log(&event);
        // This fails if nobody watches, which is fine.
        let _ = self.timeline.send(event);
    }

    /// Enters a phase.
    pub(super) fn enter(&self, phase: Phase) {
        self.state.borrow_mut().phase = Place(phase);
        self.note(TimelineKind::Phase, Line::default());
        if phase == Phase::Normal {
            self.take_next_config();
        }
        self.metrics.phase(phase);
        notify::status(&format!("{phase}"));
        self.changed.notify_waiters();
    }

    /// The phase that the agent is in, as a line for a new watcher.
    pub fn present(&self) -> TimelineEvent {
        let state = self.state.borrow();
        TimelineEvent {
            update: state.update_id().unwrap_or_default().to_owned(),
            time_us: state.time_us(),
            phase: state.phase.0,
            kind: TimelineKind::Phase,
            workload: None,
            took_us: None,
            detail: None,
        }
    }

    /// This moment, by clocks that survive a kexec.
    pub(super) fn moment(&self) -> Moment {
        self.moment_by(self.state.borrow().clock())
    }

    /// The same, by the clock of an update that may be over.
    pub(super) fn moment_by(&self, clock: Clock) -> Moment {
        Moment::now(self.started, luo_sys::clock::ticks(), clock.now_us())
    }
}

fn log(event: &TimelineEvent) {
    let TimelineEvent {
        update,
        phase,
        kind,
        workload,
        took_us,
        detail,
        ..
    } = event;
    let workload = workload.as_deref().unwrap_or_default();
    let detail = detail.as_deref().unwrap_or_default();
    let text = match (workload, detail) {
        ("", detail) => format!("{kind}: {phase} {detail}"),
        (workload, detail) => format!("{kind}: {workload} {detail}"),
    };
    let text = text.trim_end();
    let (phase, kind) = (phase.word(), kind.word());
    match event.kind {
        TimelineKind::Vetoed | TimelineKind::Late | TimelineKind::Lost => {
            tracing::warn!(update, phase, kind, workload, took_us, "{text}");
        }
        _ => tracing::info!(update, phase, kind, workload, took_us, "{text}"),
    }
}
