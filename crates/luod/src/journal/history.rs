// SPDX-License-Identifier: MIT OR Apache-2.0
//! The updates that are over: one line of JSON each.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use luo_varlink::HistoryEntry;
use serde::de::IgnoredAny;

/// The file in the state directory.
const FILE: &str = "history.jsonl";

/// Bytes at which the file is put aside and a new one begun; one old one is kept.
const MAX_FILE: u64 = 16 << 20;

/// Bytes of a line that is read.
const MAX_LINE: usize = 4 << 20;

/// Bytes of lines that one question is answered with, the newest lines.
const MAX_ANSWER: usize = 4 << 20;

/// The history of one machine.
#[derive(Clone, Debug)]
pub struct History {
    path: PathBuf,
}

impl History {
    /// The history in a state directory, which may not be there yet.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            path: directory.join(FILE),
        }
    }

    /// Adds an update, and has it on the disk.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub fn add(&self, entry: &HistoryEntry) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        if fs::metadata(&self.path).is_ok_and(|file| file.len() >= MAX_FILE) {
            fs::rename(&self.path, self.path.with_extension("jsonl.old"))?;
        }
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)?;
        file.write_all(&line)?;
        file.sync_data()
    }

    /// The last updates, the newest first. Lines that do not read are passed over:
    /// another version may have written them, or a crash have cut them off.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn last(&self, most: usize) -> io::Result<Vec<HistoryEntry>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        // Lines stay lines until it is known that they are wanted.
        let mut lines = std::collections::VecDeque::new();
        let mut held = 0;
        let mut reader = BufReader::new(file);
        loop {
            let mut line = Vec::new();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if line.len() > MAX_LINE || serde_json::from_slice::<IgnoredAny>(&line).is_err() {
                continue;
            }
            held += line.len();
            lines.push_back(line);
            while lines.len() > most || held > MAX_ANSWER {
                held -= lines.pop_front().map_or(0, |line| line.len());
            }
        }
        let read = |line: &Vec<u8>| serde_json::from_slice(line).ok();
        Ok(lines.iter().rev().filter_map(read).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use luo_varlink::Outcome;

    fn entry(update: &str) -> HistoryEntry {
        HistoryEntry {
            update: update.into(),
            outcome: Outcome::Completed,
            reason: None,
            began_us: 1,
            took_us: 2,
            blackout_us: Some(3),
            from_kernel: "a".into(),
            to_kernel: "b".into(),
            timeline: Vec::new(),
        }
    }

    #[test]
    fn the_newest_comes_first_and_damage_is_passed_over() {
        let directory = std::env::temp_dir().join(format!("luod-history-{}", std::process::id()));
        let history = History::in_directory(&directory);
        assert!(history.last(5).unwrap().is_empty());
        for update in ["one", "two", "three"] {
            history.add(&entry(update)).unwrap();
        }
        let mut file = OpenOptions::new()
            .append(true)
            .open(directory.join(FILE))
            .unwrap();
        file.write_all(b"{\"update\":\"half").unwrap();
        let names: Vec<_> = history
            .last(2)
            .unwrap()
            .into_iter()
            .map(|entry| entry.update)
            .collect();
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(names, ["three", "two"]);
    }
}
