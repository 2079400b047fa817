// SPDX-License-Identifier: MIT OR Apache-2.0
//! What each workload did while an update was under way: a lane of bars for each.

use std::collections::BTreeMap;

use luo_varlink::{HistoryEntry, Outcome, Phase, TimelineEvent, TimelineKind};

use crate::text::{took, took_or_not_known};

/// What a bar stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Meaning {
    /// The kernel does something.
    Kernel,
    /// A workload was asked and has agreed.
    Step,
    /// A workload stands still.
    Still,
    /// The new kernel runs, and the workload does not serve yet.
    Returning,
    /// A workload has refused, was late, was lost, or has not come back.
    Trouble,
}

impl Meaning {
    pub(crate) const ALL: [Self; 5] = [
        Self::Kernel,
        Self::Step,
        Self::Still,
        Self::Returning,
        Self::Trouble,
    ];

    /// For people.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Kernel => "the kernel is at work",
            Self::Step => "gets ready",
            Self::Still => "stands still",
            Self::Returning => "takes back what is its",
            Self::Trouble => "refused, late, lost",
        }
    }
}

/// A stretch of time in a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    /// Microseconds since 1970.
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) meaning: Meaning,
    /// All that is known about it.
    pub(crate) words: String,
}

/// From when to when not all served, if there was a jump.
pub(crate) struct Blackout {
    /// Microseconds since 1970.
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// How long it was, as it was measured, if that is known: a clock may have been set meanwhile.
    pub(crate) us: Option<u64>,
}

/// The lanes by name, the kernel's among them if it has any; and the blackout.
pub(crate) struct Lanes {
    pub(crate) kernel: Vec<Bar>,
    pub(crate) workloads: BTreeMap<String, Vec<Bar>>,
    pub(crate) blackout: Option<Blackout>,
}

/// A lane that grows.
#[derive(Default)]
struct Lane {
    bars: Vec<Bar>,
    /// When it was asked for what it has not answered yet.
    asked: Option<u64>,
    /// Since when it stands still.
    still: Option<u64>,
    /// Whether it serves in the new kernel.
    is_back: bool,
}

impl Lane {
    fn bar(&mut self, from: u64, to: u64, meaning: Meaning, words: String) {
        // A clock that was set back meanwhile makes no bar of less than nothing.
        let to = to.max(from);
        self.bars.push(Bar {
            from,
            to,
            meaning,
            words,
        });
    }

    /// What was asked for ends with an event. Where nobody has noted the asking, the event
    /// says how long it took.
    fn answered(&mut self, event: &TimelineEvent, meaning: Meaning) {
        let at = event.time_us;
        let began = at.saturating_sub(event.took_us.unwrap_or(0));
        let from = self.asked.take().unwrap_or(began);
        self.bar(from, at, meaning, words(event, at.checked_sub(from)));
    }

    /// It stands still no more, at a time.
    fn stir(&mut self, at: u64) {
        if let Some(since) = self.still.take() {
            let lasted = took_or_not_known(at.checked_sub(since));
            let words = format!("stood still for {lasted}");
            self.bar(since, at, Meaning::Still, words);
        }
    }

    fn add(&mut self, event: &TimelineEvent, updated: Option<u64>) {
        let at = event.time_us;
        match event.kind {
            TimelineKind::Asked => self.asked = Some(at),
            TimelineKind::Agreed => {
                self.answered(event, Meaning::Step);
                if matches!(event.phase, Phase::Freezing | Phase::Frozen) {
                    self.still = Some(at);
                }
            }
            TimelineKind::Left => self.still = self.still.or(Some(at)),
            TimelineKind::Vetoed | TimelineKind::Late | TimelineKind::Lost => {
                self.answered(event, Meaning::Trouble);
            }
            TimelineKind::Restored => {
                if let Some(updated) = updated.filter(|_| !self.is_back) {
                    self.stir(updated);
                    let took = at.checked_sub(updated);
                    self.bar(updated, at, Meaning::Returning, words(event, took));
                }
                self.is_back = true;
            }
            _ => {}
        }
    }

    /// The update is over.
    fn end(mut self, at: u64, updated: Option<u64>, outcome: Outcome) -> Vec<Bar> {
        let stood_still = self.still.is_some();
        self.stir(updated.unwrap_or(at));
        if let Some(updated) = updated.filter(|_| stood_still) {
            let (meaning, words) = match outcome {
                Outcome::Completed => (Meaning::Returning, "nobody has said that it serves"),
                _ => (Meaning::Trouble, "has not come back"),
            };
            self.bar(updated, at, meaning, words.to_owned());
        }
        self.bars
    }
}

fn words(event: &TimelineEvent, lasted: Option<u64>) -> String {
    let mut words = format!("{}: {}", event.phase, event.kind.word());
    if let Some(lasted) = lasted {
        words += &format!(", {}", took(lasted));
    }
    if let Some(detail) = event.detail.as_deref().and_then(|all| all.lines().next()) {
        words += &format!(" ({detail})");
    }
    words
}

/// Sorts an update's timeline into lanes.
pub(crate) fn lanes(entry: &HistoryEntry) -> Lanes {
    let mut kernel = Lane::default();
    let mut workloads: BTreeMap<&str, Lane> = BTreeMap::new();
    let (mut updated, mut freezing, mut asked, mut served) = (None, None, None, None);
    let mut end = entry.began_us.saturating_add(entry.took_us.unwrap_or(0));
    for event in &entry.timeline {
        let at = event.time_us;
        end = end.max(at);
        if event.kind == TimelineKind::Phase {
            match event.phase {
                Phase::Updated => updated = Some(at),
                Phase::Freezing => freezing = Some(at),
                Phase::Cancelling => workloads.values_mut().for_each(|lane| lane.stir(at)),
                _ => {}
            }
        }
        if event.kind == TimelineKind::Kernel {
            kernel.answered(event, Meaning::Kernel);
        }
        if let Some(workload) = &event.workload {
            workloads.entry(workload).or_default().add(event, updated);
            // The kernel is loaded before anybody is asked to stand still.
            if event.kind == TimelineKind::Asked && event.phase == Phase::Freezing {
                asked.get_or_insert(at);
            }
            if event.kind == TimelineKind::Restored {
                served = Some(at);
            }
        }
    }
    let ended = |(name, lane): (&str, Lane)| {
        let bars = lane.end(end, updated, entry.outcome);
        (name.to_owned(), bars)
    };
    let blackout = asked.or(freezing).zip(served);
    let has_one = entry.blackout_us.is_some() || entry.lacks_its_blackout();
    let blackout = blackout.filter(|_| has_one).map(|(from, to)| Blackout {
        from,
        to,
        us: entry.blackout_us,
    });
    Lanes {
        kernel: kernel.bars,
        workloads: workloads.into_iter().map(ended).collect(),
        blackout,
    }
}
