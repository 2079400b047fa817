// SPDX-License-Identifier: MIT OR Apache-2.0
//! Timelines, as people read them: pure functions of what the agent tells.

pub use luo_timeline::svg;

use std::collections::BTreeMap;

use luo_varlink::{HistoryEntry, Outcome, Phase, PhaseTime, TimelineEvent, TimelineKind};

use crate::output::{Paint, Tone};
use crate::table::Table;
use crate::text::{after, clock, date, plain, took, took_or_not_known};

/// The moment from which times are counted.
#[derive(Clone, Copy, Debug)]
pub enum Since {
    /// The time of day.
    Clock,
    /// Times count from this moment: microseconds since 1970.
    Moment(u64),
}

/// The tone of an outcome.
#[must_use]
pub fn tone(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::Completed => Tone::Good,
        Outcome::Incomplete | Outcome::Lost => Tone::Bad,
        Outcome::Unfrozen | Outcome::Cancelled | Outcome::Refused | Outcome::UnderWay => Tone::Warn,
    }
}

/// An outcome, for people.
#[must_use]
pub fn words(outcome: Outcome) -> String {
    outcome.word().replace('_', " ")
}

/// One line.
#[must_use]
pub fn line(event: &TimelineEvent, since: Since, paint: Paint) -> String {
    let time = match since {
        Since::Clock => clock(event.time_us),
        Since::Moment(began) => match after(event.time_us, began) {
            Some(after) => format!("{after:>9} s"),
            None => "  clock set".to_owned(),
        },
    };
    let time = paint.tone(Tone::Dim, time);
    if event.kind == TimelineKind::Phase {
        return format!("{time}  {}", paint.tone(Tone::Head, event.phase));
    }
    let mut words = vec![event.kind.word().to_owned()];
    words.extend(event.workload.as_deref().map(plain));
    let mut text = words.join(" ");
    // A detail of more lines is told in full as the reason of the end.
    let detail = event.detail.as_deref();
    if let Some(detail) = detail.and_then(|detail| detail.lines().next()) {
        text += &match event.kind {
            TimelineKind::Asked => format!(" to {}", plain(detail)),
            _ => format!(": {}", plain(detail)),
        };
    }
    if let Some(us) = event.took_us {
        text += &format!(" ({})", took(us));
    }
    let tone = match event.kind {
        TimelineKind::Vetoed | TimelineKind::Late | TimelineKind::Lost => Tone::Bad,
        _ => Tone::Plain,
    };
    format!("{time}    {}", paint.tone(tone, text))
}

/// An update: its outcome, how long each phase and each workload took, and its
/// timeline.
#[must_use]
pub fn render(entry: &HistoryEntry, paint: Paint) -> String {
    let outcome = paint.tone(tone(entry.outcome), words(entry.outcome));
    let mut text = format!("update    {}\noutcome   {outcome}\n", plain(&entry.update));
    if let Some(reason) = &entry.reason {
        let lines: Vec<_> = reason.lines().map(plain).collect();
        text += &format!("reason    {}\n", lines.join("\n          "));
    }
    text += &format!("began     {}\n", date(entry.began_us));
    text += &format!("took      {}\n", took_or_not_known(entry.took_us));
    if entry.blackout_us.is_some() || entry.lacks_its_blackout() {
        let blackout = paint.tone(Tone::Head, took_or_not_known(entry.blackout_us));
        let of_what = match entry.blackout_us {
            Some(_) => {
                ", from the first that was asked to stand still to the last that serves again"
            }
            None => "",
        };
        text += &format!("blackout  {blackout}{of_what}\n");
    }
    text += &match (plain(&entry.from_kernel), plain(&entry.to_kernel)) {
        (from, to) if !entry.has_jumped() && from == to => format!("kernel    {from}\n"),
        (from, to) => format!("kernel    {from} -> {to}\n"),
    };
    let tables = [phases(entry), participants(entry)];
    for table in tables.into_iter().flatten() {
        text += &format!("\n{}", table.render(paint));
    }
    if !entry.timeline.is_empty() {
        text.push('\n');
    }
    for event in &entry.timeline {
        text += &line(event, Since::Moment(entry.began_us), paint);
        text.push('\n');
    }
    text
}

/// How long each phase took, up to the next one.
fn phases(entry: &HistoryEntry) -> Option<Table> {
    let times = entry.phases();
    if times.is_empty() {
        return None;
    }
    let mut table = Table::new(&["PHASE", ">TOOK", ""]);
    for time in times {
        let PhaseTime { phase, .. } = time;
        let meaning = match phase {
            Phase::Preparing => "checks, asking all to get ready",
            Phase::Prepared => "all are ready and run on",
            Phase::Freezing => "loading, asking all to stand still",
            Phase::Frozen => "all stand still",
            Phase::Jumping if entry.has_jumped() => {
                "from kernel to kernel, until luod was up again"
            }
            Phase::Jumping => match entry.outcome {
                Outcome::Lost => "about to jump; no kernel took over",
                Outcome::UnderWay => "about to jump",
                _ => "about to jump, which did not come about",
            },
            Phase::Cancelling => "undoing",
            Phase::Updated => "workloads take back what is theirs",
            Phase::Normal => "",
        };
        let lasted = took_or_not_known(time.took());
        table.row([phase.to_string(), lasted, meaning.to_owned()]);
    }
    Some(table)
}

/// The times of one workload.
#[derive(Clone, Debug, Default)]
struct Times {
    prepare: Option<String>,
    freeze: Option<String>,
    restore: Option<String>,
}

/// How long each workload took for each step, and was away in all.
fn participants(entry: &HistoryEntry) -> Option<Table> {
    let mut all: BTreeMap<&str, Times> = BTreeMap::new();
    let mut updated = None;
    for event in &entry.timeline {
        if event.kind == TimelineKind::Phase && event.phase == Phase::Updated {
            updated = Some(event.time_us);
        }
        let Some(workload) = &event.workload else {
            continue;
        };
        let times = all.entry(workload).or_default();
        let of_step = match event.phase {
            Phase::Preparing | Phase::Prepared => &mut times.prepare,
            Phase::Freezing | Phase::Frozen => &mut times.freeze,
            _ => &mut times.restore,
        };
        let word = event.kind.word().to_owned();
        match event.kind {
            TimelineKind::Agreed => *of_step = Some(took(event.took_us.unwrap_or(0))),
            TimelineKind::Vetoed | TimelineKind::Late | TimelineKind::Lost => {
                *of_step = Some(word);
            }
            TimelineKind::Left => times.freeze = Some("has left".to_owned()),
            TimelineKind::Restored => {
                let since = updated.and_then(|updated| event.time_us.checked_sub(updated));
                times.restore = Some(took_or_not_known(since));
            }
            _ => {}
        }
    }
    if all.is_empty() {
        return None;
    }
    let mut titles = vec!["WORKLOAD", ">PREPARE", ">FREEZE", ">RESTORED AFTER"];
    let has_jumped = entry.blackout_us.is_some();
    titles.extend(has_jumped.then_some(">AWAY"));
    let mut table = Table::new(&titles);
    for (name, times) in all {
        let cell = |time: Option<String>| time.unwrap_or_else(|| "-".to_owned());
        let mut row = vec![
            name.to_owned(),
            cell(times.prepare),
            cell(times.freeze),
            cell(times.restore),
        ];
        row.extend(has_jumped.then(|| cell(entry.away_us(name).map(took))));
        table.row(row);
    }
    Some(table)
}
