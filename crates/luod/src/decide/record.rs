// SPDX-License-Identifier: MIT OR Apache-2.0
//! The record that one agent leaves for the next, in a sealed memfd of the agent's own
//! session. The next agent also keeps it in its notes, in case it is started anew.
//!
//! ```text
//! 0   magic "LUODREC\0"      8 bytes
//! 8   version                u32, little endian
//! 12  reserved, zero         u32
//! 16  length of the text     u64
//! 24  SHA-256 of the text    32 bytes
//! 56  the text: JSON
//!     another record, or the tail, then zeros
//! ```
//!
//! The first record is written once the kernel is prepared, so that a jump by somebody else's
//! hand finds one. A second whole one is written behind it once all workloads stand still.
//! The last that is whole counts, so that a jump in the middle of writing finds the first;
//! an agent that knows one record only takes the first, which lists the same sessions.
//!
//! Nothing in a record is believed before its digest fits. A record of another version is
//! refused, and no session is touched then: the agent that wrote it can be started.
//!
//! The tail holds what happened after the record was written, up to the jump, as lines of
//! the timeline:
//!
//! ```text
//! 0   length of the text     u32, little endian; 0 ends the tail
//! 4   SHA-256 of the text    32 bytes
//! 36  the text: JSON
//! ```
//!
//! The tail tells how the update went, and nothing is decided from it. So a reader stops at
//! the first line that is not whole, and an agent that knows no tail takes it for zeros.

use std::sync::Arc;

use luo_timeline::Moment;
use luo_varlink::{HistoryEntry, Identity, TimelineEvent};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// Bytes of a record at most.
pub const MAX_LENGTH: usize = 64 << 20;

const MAGIC: &[u8; 8] = b"LUODREC\0";
const HEADER: usize = 56;

/// Bytes of a line of the tail before its text.
const LINE_HEADER: usize = 36;

/// Records that are read, one behind the other.
const MAX_RECORDS: usize = 4;

/// Lines of a tail that are read.
const MAX_TAIL: usize = 1024;

/// A record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The update's id.
    pub update: String,
    /// When it began: microseconds since 1970.
    pub began_us: u64,
    /// When the first workload was asked to stand still; in a record of workloads that run on,
    /// when it was written.
    pub freeze: Moment,
    /// Whether the workloads stand still.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub frozen: bool,
    /// The kernel's release.
    pub from_kernel: String,
    /// Where a picture of the update is wanted when it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// The workloads that take part, by name.
    pub participants: Vec<Participant>,
    /// The timeline so far.
    pub timeline: Vec<Arc<TimelineEvent>>,
    /// Updates that are over, and that the disk has not taken yet, without their timelines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unwritten: Vec<HistoryEntry>,
}

impl Record {
    /// How long the update had taken by a moment in the next kernel, in microseconds, if that is
    /// known. The jump has set the clock anew, so the time over it is measured by moments.
    #[must_use]
    pub fn took_until(&self, now: &Moment) -> Option<u64> {
        took_until(self.began_us, &self.freeze, now)
    }
}

/// The same, of an update that began at a time and stood still at a moment.
#[must_use]
pub fn took_until(began_us: u64, freeze: &Moment, now: &Moment) -> Option<u64> {
    let before = freeze.time_us.checked_sub(began_us)?;
    Some(before.saturating_add(freeze.until(now)?))
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_true(what: &bool) -> bool {
    *what
}

/// A workload that takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub identity: Identity,
    /// The workloads it needs.
    pub needs: Vec<String>,
    /// Its sessions.
    pub sessions: Vec<String>,
    /// The sessions among them that it has left while no update was under way: nobody is
    /// expected to claim them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parked: Vec<String>,
}

impl Participant {
    /// Whether it is not expected to come back: all that it has it has left before.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        let mut sessions = self.sessions.iter();
        !self.parked.is_empty() && sessions.all(|session| self.parked.contains(session))
    }
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadRecord {
    /// It is too short, or its first bytes are not those of a record.
    #[error("it is no record of luod")]
    Magic,
    /// It has another version.
    #[error("it has version {0}, and this luod reads {VERSION} only: start the luod that wrote it")]
    Version(u32),
    /// It says that it is longer than its memory, or than a record may be.
    #[error("it says that it has {0} bytes")]
    Length(u64),
    /// It is damaged.
    #[error("its digest does not fit: it is damaged")]
    Digest,
    /// Its digest fits, and its text cannot be parsed.
    #[error("its text: {0}")]
    Text(#[from] serde_json::Error),
    /// A record does not fit into the memory that was set aside for it.
    #[error("it needs {needed} bytes, and {room} were set aside")]
    Room {
        /// The bytes that it needs.
        needed: usize,
        /// The bytes that were set aside.
        room: usize,
    },
}

impl Record {
    /// Bytes to set aside for a record that is to be completed later.
    #[must_use]
    pub fn room_for(&self) -> usize {
        /// Bytes of the lines that a freeze adds for a workload, generously.
        const LINES: usize = 4096;
        let now = serde_json::to_vec(self).map_or(0, |text| text.len());
        let later = (self.participants.len() + 16).saturating_mul(LINES);
        HEADER
            .saturating_add(now)
            .saturating_add(later)
            .min(MAX_LENGTH)
    }

    /// The bytes of a record, no more than `room`.
    ///
    /// # Errors
    /// [`BadRecord::Room`]
    pub fn encode(&self, room: usize) -> Result<Vec<u8>, BadRecord> {
        let text = serde_json::to_vec(self)?;
        let needed = HEADER.saturating_add(text.len());
        if needed > room.min(MAX_LENGTH) {
            return Err(BadRecord::Room { needed, room });
        }
        let mut bytes = Vec::with_capacity(needed);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&Sha256::digest(&text));
        bytes.extend_from_slice(&text);
        Ok(bytes)
    }

    /// Reads a record: the last that is whole.
    ///
    /// # Errors
    /// [`BadRecord`]
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let (mut record, mut rest) = Self::read_one(bytes)?;
        for _ in 1..MAX_RECORDS {
            let Ok((later, behind)) = Self::read_one(rest) else {
                break;
            };
            (record, rest) = (later, behind);
        }
        record.timeline.extend(read_tail(rest));
        Ok(record)
    }

    /// Reads the record at the beginning of bytes; gives what is behind it.
    fn read_one(bytes: &[u8]) -> Result<(Self, &[u8]), BadRecord> {
        let (magic, rest) = bytes.split_first_chunk().ok_or(BadRecord::Magic)?;
        if magic != MAGIC {
            return Err(BadRecord::Magic);
        }
        let (version, rest) = rest.split_first_chunk().ok_or(BadRecord::Magic)?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(BadRecord::Version(version));
        }
        let (reserved, rest) = rest.split_first_chunk::<4>().ok_or(BadRecord::Magic)?;
        let (length, rest) = rest.split_first_chunk().ok_or(BadRecord::Magic)?;
        let (digest, rest) = rest.split_first_chunk::<32>().ok_or(BadRecord::Magic)?;
        let length = u64::from_le_bytes(*length);
        let text = usize::try_from(length)
            .ok()
            .filter(|&length| length <= MAX_LENGTH);
        let split = text.and_then(|length| rest.split_at_checked(length));
        let (text, behind) = split.ok_or(BadRecord::Length(length))?;
        if Sha256::digest(text).as_slice() != digest || reserved != &[0; 4] {
            return Err(BadRecord::Digest);
        }
        Ok((serde_json::from_slice(text)?, behind))
    }
}

/// The bytes of a tail: of these lines as many as fit into `room`.
#[must_use]
pub fn tail(lines: &[Arc<TimelineEvent>], room: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        let Ok(text) = serde_json::to_vec(line) else {
            break;
        };
        let needed = LINE_HEADER.saturating_add(text.len());
        let fits = bytes.len().saturating_add(needed) <= room;
        let Ok(length) = u32::try_from(text.len()) else {
            break;
        };
        if !fits {
            break;
        }
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&Sha256::digest(&text));
        bytes.extend_from_slice(&text);
    }
    bytes
}

/// The lines of a tail, up to the first that is not whole.
fn read_tail(mut bytes: &[u8]) -> Vec<Arc<TimelineEvent>> {
    let mut lines = Vec::new();
    while lines.len() < MAX_TAIL
        && let Some((line, rest)) = read_line(bytes)
    {
        lines.push(Arc::new(line));
        bytes = rest;
    }
    lines
}

fn read_line(bytes: &[u8]) -> Option<(TimelineEvent, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (digest, rest) = rest.split_first_chunk::<32>()?;
    let (text, rest) = rest.split_at_checked(length).filter(|_| length > 0)?;
    let is_whole = Sha256::digest(text).as_slice() == digest;
    let line = is_whole.then(|| serde_json::from_slice(text).ok())?;
    Some((line?, rest))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use luo_varlink::{Phase, TimelineKind};

    pub(crate) fn record() -> Record {
        Record {
            update: "u-1".into(),
            began_us: 7,
            freeze: Moment {
                time_us: 8,
                ticks: Some(9),
                ticks_per_second: Some(1e9),
            },
            frozen: true,
            from_kernel: "7.3.4".into(),
            report: None,
            participants: vec![Participant {
                name: "cache".into(),
                identity: Identity {
                    uid: 990,
                    gid: 990,
                    unit: Some("cache.service".into()),
                },
                needs: vec!["db".into()],
                sessions: vec!["cache".into(), "cache.index".into()],
                parked: vec![],
            }],
            timeline: vec![Arc::new(TimelineEvent {
                update: "u-1".into(),
                time_us: 7,
                phase: Phase::Preparing,
                kind: TimelineKind::Asked,
                workload: Some("cache".into()),
                took_us: None,
                detail: None,
            })],
            unwritten: vec![],
        }
    }

    #[test]
    fn a_record_comes_back() {
        let mut bytes = record().encode(record().room_for()).unwrap();
        bytes.resize(bytes.len() + 100, 0);
        assert_eq!(Record::decode(&bytes).unwrap(), record());
    }

    #[test]
    fn the_last_that_is_whole_counts() {
        let first = Record {
            frozen: false,
            ..record()
        };
        let mut bytes = first.encode(MAX_LENGTH).unwrap();
        let alone = bytes.len();
        bytes.extend(record().encode(MAX_LENGTH).unwrap());
        let both = bytes.len();
        bytes.extend(tail(&[jumping()], MAX_LENGTH));
        let read = Record::decode(&bytes).unwrap();
        assert!(read.frozen);
        assert_eq!(read.timeline.len(), 2);
        // A jump in the middle of writing.
        for length in alone..both {
            let mut cut = bytes[..length].to_vec();
            cut.resize(bytes.len(), 0);
            assert_eq!(Record::decode(&cut).unwrap(), first, "{length} bytes");
        }
        for bit in alone * 8..both * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::decode(&damaged).unwrap(), first, "bit {bit}");
        }
    }

    #[test]
    fn each_bit_counts() {
        let bytes = record().encode(MAX_LENGTH).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode(&damaged).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Record::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    fn jumping() -> Arc<TimelineEvent> {
        Arc::new(TimelineEvent {
            phase: Phase::Jumping,
            kind: TimelineKind::Phase,
            time_us: 99,
            ..Arc::unwrap_or_clone(record().timeline.remove(0))
        })
    }

    #[test]
    fn what_happened_later_is_in_the_tail() {
        let mut bytes = record().encode(MAX_LENGTH).unwrap();
        let whole = bytes.len();
        let lines = [jumping(), jumping()];
        bytes.extend(tail(&lines, MAX_LENGTH));
        let end = bytes.len();
        bytes.resize(end + 100, 0);
        let read = Record::decode(&bytes).unwrap();
        assert_eq!(read.timeline.len(), 3);
        assert_eq!(read.timeline[1..], lines);
        // Without a whole tail the record is as good, with fewer lines.
        for length in whole..end {
            let mut cut = bytes[..length].to_vec();
            cut.resize(end, 0);
            let read = Record::decode(&cut).unwrap();
            let lines = read.timeline.len();
            assert!((1..3).contains(&lines), "{length} bytes: {lines} lines");
            assert_eq!(read.participants, record().participants);
        }
        for bit in whole * 8..end * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let read = Record::decode(&damaged).unwrap();
            assert!(read.timeline.len() < 3, "bit {bit}");
        }
    }

    #[test]
    fn a_tail_has_the_lines_that_fit() {
        let one = tail(&[jumping()], MAX_LENGTH);
        let lines = [jumping(), jumping()];
        assert_eq!(tail(&lines, one.len() * 2 - 1), one);
        assert!(tail(&lines, one.len() - 1).is_empty());
    }

    #[test]
    fn another_version_says_so() {
        let mut bytes = record().encode(MAX_LENGTH).unwrap();
        bytes[8] = 2;
        let error = Record::decode(&bytes).unwrap_err();
        assert!(matches!(error, BadRecord::Version(2)));
        assert!(error.to_string().contains("start the luod that wrote it"));
    }

    #[test]
    fn version_1_stays_readable() {
        let golden = include_bytes!("../../tests/golden/record-1.bin");
        assert_eq!(Record::decode(golden).unwrap(), record());
        assert_eq!(record().encode(MAX_LENGTH).unwrap(), golden);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(matches!(
            record().encode(100),
            Err(BadRecord::Room { room: 100, .. })
        ));
    }
}
