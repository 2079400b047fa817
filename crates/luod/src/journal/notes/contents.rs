// SPDX-License-Identifier: MIT OR Apache-2.0
//! The contents of the notes.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};

use luo_timeline::Moment;
use luo_varlink::{HistoryEntry, Identity};
use serde::{Deserialize, Serialize};

use crate::journal::clock::Clock;

/// Bytes of the id of an update.
const MAX_ID: usize = 128;

/// An update that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Its id.
    pub id: String,
    /// When it began: microseconds since 1970. None if nobody knows.
    pub began_us: Option<u64>,
    /// How long the machine had been up then, in microseconds. None if an earlier version noted
    /// it, or if the history alone knows of it.
    pub boot_us: Option<u64>,
    /// Where a picture of it is wanted when it is over.
    pub report: Option<String>,
}

impl Begun {
    /// Its clock, as far as that is known: nobody knows it if the machine's was set back since.
    #[must_use]
    pub fn clock(&self) -> Option<Clock> {
        let wall_us = self.began_us?;
        match self.boot_us {
            Some(boot_us) => Some(Clock { wall_us, boot_us }),
            None => Clock::since(wall_us),
        }
    }

    /// Reads one, as [`Self::text`] has it.
    pub(super) fn parse(bytes: &[u8]) -> io::Result<Self> {
        let damaged = || io::Error::new(ErrorKind::InvalidData, "it names no update");
        let text = std::str::from_utf8(bytes).map_err(|_| damaged())?;
        let mut lines = text.lines();
        let mut words = lines.next().unwrap_or_default().split_whitespace();
        let id = words.next().filter(|id| is_id(id)).ok_or_else(damaged)?;
        // An earlier version has noted the id alone, or that and when it began.
        let mut number = || words.next().and_then(|word| word.parse().ok());
        Ok(Self {
            id: id.to_owned(),
            began_us: number(),
            boot_us: number(),
            report: lines.next().map(str::to_owned),
        })
    }

    /// As it is noted.
    pub(super) fn text(&self) -> String {
        let mut text = self.id.clone();
        for number in [self.began_us, self.boot_us].into_iter().flatten() {
            text += &format!(" {number}");
        }
        text.push('\n');
        if let Some(report) = &self.report {
            text += &format!("{report}\n");
        }
        text
    }
}

/// A workload that has sessions in the descriptor store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its name.
    pub workload: String,
    /// Its identity.
    pub identity: Identity,
    /// The workloads it needs.
    pub needs: Vec<String>,
    /// Its sessions in the store, and those of the previous kernel that it left long ago.
    pub sessions: Vec<String>,
    /// The sessions among them that came from the previous kernel.
    pub incoming: Vec<String>,
    /// Whether it has left.
    pub left: bool,
    /// The sessions among them that it has left while no update was under way.
    #[serde(default)]
    pub parked: Vec<String>,
}

/// How far the workloads of the record have come back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Workloads that serve again.
    pub restored: Vec<String>,
    /// Sessions that are finished.
    pub finished: Vec<String>,
    /// When the last workload began to serve again.
    pub last: Option<Moment>,
    /// The update's clock in this kernel.
    #[serde(default)]
    pub clock: Option<Clock>,
    /// Whether the deadline has passed by which they were expected.
    #[serde(default)]
    pub overdue: bool,
    /// The fault of an earlier note of this, if it was damaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
    /// Workloads of which it is not known since then whether they serve again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubt: Vec<String>,
}

/// An update that has ended without some of its workloads, which may still come back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Late {
    /// Its entry in the history.
    pub entry: HistoryEntry,
    /// Where a picture of it is wanted.
    pub report: Option<String>,
    /// When the first workload was asked to stand still.
    pub freeze: Moment,
    /// Whether the workloads stood still when the machine jumped.
    pub frozen: bool,
    /// When it has ended: microseconds since 1970.
    pub ended_us: u64,
    /// Its clock in this kernel.
    #[serde(default)]
    pub clock: Option<Clock>,
    /// The workloads that have not come back.
    pub missing: BTreeSet<String>,
    /// Sessions that were released because nobody claimed them.
    pub released: BTreeSet<String>,
    /// Those that have come back since, in words.
    pub came: Vec<String>,
    /// Microseconds by which this kernel's clock is behind the previous one's.
    pub behind_us: i64,
}

/// Whether a word can be the id of an update: letters, digits and dashes.
fn is_id(word: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    word.len() <= MAX_ID && word.bytes().all(is_part)
}
