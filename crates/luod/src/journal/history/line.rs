// SPDX-License-Identifier: MIT OR Apache-2.0
//! A line: as long as it is written, and no longer than is read. Of a longer timeline the middle
//! is left out, and that is said. A line of an older luod may be longer: all of it but its
//! timeline is read.

use std::fmt;

use luo_varlink::{HistoryEntry, TimelineEvent};
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::past::Mark;

/// Bytes of a line, its end not counted.
pub(super) const MAX_LINE: usize = 4 << 20;

/// A line, as it is written.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    entry: &'a HistoryEntry,
    #[serde(flatten)]
    mark: &'a Mark,
}

/// Adds to what is told of an update.
fn add(entry: &mut HistoryEntry, text: &str) {
    entry.reason = Some(match entry.reason.take() {
        Some(reason) => format!("{reason}; {text}"),
        None => text.to_owned(),
    });
}

/// The line of an update.
pub(super) fn written(entry: &HistoryEntry, mark: &Mark) -> serde_json::Result<Vec<u8>> {
    let line = serde_json::to_vec(&Line { entry, mark })?;
    if line.len() <= MAX_LINE {
        return Ok(line);
    }
    let mut short = entry.clone();
    let all = std::mem::take(&mut short.timeline);
    // Each time half of it goes, out of the middle: how an update begins and how it ends is
    // worth most. The last line says how far it has come, so that one stays.
    let mut kept = all.len();
    loop {
        kept /= 2;
        let begin = kept / 2;
        let end = all.len().saturating_sub((kept - begin).max(1));
        let lines = all.iter().take(begin).chain(all.iter().skip(end));
        let mut part = HistoryEntry {
            timeline: lines.cloned().collect(),
            ..short.clone()
        };
        let left_out = all.len().saturating_sub(part.timeline.len());
        add(
            &mut part,
            &format!(
                "{left_out} of the {} lines of its timeline are left out, which would be too long: \
                 luod's log has them",
                all.len()
            ),
        );
        let line = serde_json::to_vec(&Line { entry: &part, mark })?;
        if line.len() <= MAX_LINE || kept == 0 {
            return Ok(line);
        }
    }
}

/// The last line of a timeline; the others are passed over.
struct End(Option<TimelineEvent>);

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Lines;
        impl<'de> Visitor<'de> for Lines {
            type Value = Option<TimelineEvent>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a timeline")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut lines: A) -> Result<Self::Value, A::Error> {
                let mut last = None;
                while let Some(line) = lines.next_element()? {
                    last = Some(line);
                }
                Ok(last)
            }
        }
        from.deserialize_seq(Lines).map(Self)
    }
}

/// An update, of whose timeline the end is read.
#[derive(Deserialize)]
struct Short {
    timeline: End,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// Reads a line that is longer than one may be. Gives one that says the same, but for the
/// timeline.
pub(super) fn shortened(line: &[u8]) -> serde_json::Result<Vec<u8>> {
    let Short { timeline, mut rest } = serde_json::from_slice(line)?;
    let End(last) = timeline;
    rest.insert(
        "timeline".to_owned(),
        serde_json::to_value(last.as_slice())?,
    );
    let mark: Mark = serde_json::from_value(rest.clone().into())?;
    let mut entry: HistoryEntry = serde_json::from_value(rest.into())?;
    add(&mut entry, "its timeline is too long to be read");
    serde_json::to_vec(&Line {
        entry: &entry,
        mark: &mark,
    })
}
