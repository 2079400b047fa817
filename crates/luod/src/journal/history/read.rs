// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines as they are read, one after the other, with distrust: the last line of an update
//! counts, and what stands behind it and cannot be read may be newer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use luo_varlink::HistoryEntry;

use super::line::{MAX_LINE, shortened};

/// Lines that cannot be read of which one answer tells; the others are counted.
pub(super) const MAX_PROBLEMS: usize = 8;

/// Updates that are told apart among lines that cannot be read.
const MAX_TORN: usize = 1000;

/// How a line begins.
const BEGIN: &[u8] = b"{\"update\":\"";

/// The last line of an update.
pub(super) struct Known {
    pub(super) update: String,
    pub(super) line: Vec<u8>,
    /// Its number among all lines.
    at: u64,
}

/// The history, as it was read.
pub(super) struct Read {
    most: usize,
    bytes: usize,
    held: usize,
    count: u64,
    bad: u64,
    /// The lines that are held, the oldest first. They stay lines until it is known that they
    /// are wanted.
    pub(super) lines: VecDeque<Known>,
    /// Updates of which lines were read, and are not held any more.
    dropped: BTreeSet<String>,
    /// The last line that cannot be read, of each update that such a line is of, by how it
    /// begins.
    torn: BTreeMap<String, u64>,
    /// The last one of which that cannot be told.
    junk: u64,
    /// The parts that cannot be read, in words.
    pub(super) problems: Vec<String>,
}

impl Read {
    /// Nothing yet; of at most so many updates, and bytes of their lines.
    pub(super) fn new(most: usize, bytes: usize) -> Self {
        Self {
            most,
            bytes,
            held: 0,
            count: 0,
            bad: 0,
            lines: VecDeque::new(),
            dropped: BTreeSet::new(),
            torn: BTreeMap::new(),
            junk: 0,
            problems: Vec::new(),
        }
    }

    /// Takes a line; `place` says where it stands.
    pub(super) fn take(&mut self, line: Vec<u8>, place: impl Fn() -> String) {
        if line.trim_ascii().is_empty() {
            return;
        }
        self.count += 1;
        let short = match line.trim_ascii_end().len() > MAX_LINE {
            true => shortened(&line).map(Some),
            false => Ok(None),
        };
        let read = short.and_then(|short| {
            let text = short.as_ref().unwrap_or(&line);
            let entry: HistoryEntry = serde_json::from_slice(text)?;
            Ok((entry.update, short))
        });
        match read {
            Ok((update, short)) => self.put(update, short.unwrap_or(line)),
            Err(why) => self.is_bad(&line, &why, place),
        }
    }

    fn put(&mut self, update: String, line: Vec<u8>) {
        self.dropped.remove(&update);
        self.held += line.len();
        let at = self.count;
        match self.lines.iter_mut().find(|known| known.update == update) {
            Some(known) => {
                self.held -= known.line.len();
                (known.line, known.at) = (line, at);
            }
            None => self.lines.push_back(Known { update, line, at }),
        }
        let most = self.most;
        let is_too_much = |lines: usize, held| lines > most || held > self.bytes && lines > 1;
        while is_too_much(self.lines.len(), self.held) {
            let Some(known) = self.lines.pop_front() else {
                break;
            };
            self.held -= known.line.len();
            // More than are asked for need not be told apart.
            if self.dropped.len() <= most {
                self.dropped.insert(known.update);
            }
        }
    }

    fn is_bad(&mut self, line: &[u8], why: &serde_json::Error, place: impl Fn() -> String) {
        self.bad += 1;
        if self.problems.len() < MAX_PROBLEMS {
            // Where in the line, and what a parser has expected there, helps nobody.
            let what = match why.is_eof() {
                true => "it is cut off",
                false => "it is no line of a history",
            };
            self.problems.push(format!("{}: {what}", place()));
        }
        match torn(line) {
            Some(update) if self.torn.len() < MAX_TORN => {
                self.torn.insert(update.to_owned(), self.count);
            }
            _ => self.junk = self.count,
        }
    }

    /// All has been read.
    pub(super) fn count_the_rest(&mut self) {
        let more = self.bad.saturating_sub(MAX_PROBLEMS as u64);
        if more > 0 {
            let problem = format!("{more} more lines of it cannot be read");
            self.problems.push(problem);
        }
    }

    /// Whether there may be a newer line of an update than the one that is known.
    pub(super) fn is_doubtful(&self, known: &Known) -> bool {
        let torn = self.torn.get(&known.update).copied().unwrap_or_default();
        self.junk.max(torn) > known.at
    }

    /// Whether the newest line of all cannot be read: an update may be missing, or its end.
    pub(super) fn is_unsure(&self) -> bool {
        let newest = self.lines.iter().map(|known| known.at).max();
        let bad = self.torn.values().copied().max().unwrap_or_default();
        self.junk.max(bad) > newest.unwrap_or_default()
    }

    /// How many of the updates that were asked for are left out, as too long all together.
    pub(super) fn left_out(&self, most: usize) -> usize {
        let all = self.lines.len() + self.dropped.len();
        all.min(most).saturating_sub(self.lines.len())
    }
}

/// The update that a line is of which cannot be read, if it says so.
fn torn(line: &[u8]) -> Option<&str> {
    let rest = line.strip_prefix(BEGIN)?;
    let end = rest.iter().position(|&byte| byte == b'"')?;
    std::str::from_utf8(rest.get(..end)?).ok()
}
