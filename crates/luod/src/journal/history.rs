// SPDX-License-Identifier: MIT OR Apache-2.0
//! The updates that are over: one line of JSON each.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use luo_varlink::HistoryEntry;

use super::regular;

/// The file in the state directory.
const FILE: &str = "history.jsonl";

/// Bytes at which the file is put aside and a new one begun; one old one is kept.
const MAX_FILE: u64 = 16 << 20;

/// Bytes of a file that is read: more than this writes.
const MAX_READ: u64 = 4 * MAX_FILE;

/// Bytes of a line that is read.
const MAX_LINE: usize = 4 << 20;

/// Bytes of lines that one question is answered with, the newest lines.
const MAX_ANSWER: usize = 4 << 20;

/// Lines that cannot be read of which one answer tells; the others are counted.
const MAX_PROBLEMS: usize = 8;

/// Updates that are kept in memory while the disk takes none.
const MAX_UNWRITTEN: usize = 64;

/// Bytes that a usual entry has at most.
const TRIAL: usize = 64 << 10;

/// What the history tells.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// The updates, the newest first.
    pub updates: Vec<HistoryEntry>,
    /// What cannot be read of it, in words.
    pub problems: Vec<String>,
}

/// The history of one machine.
#[derive(Clone, Debug)]
pub struct History {
    path: PathBuf,
    /// Updates that the disk has not taken yet, the oldest first.
    unwritten: Arc<Mutex<Vec<HistoryEntry>>>,
}

impl History {
    /// The history in a state directory, which may not be there yet.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            path: directory.join(FILE),
            unwritten: Arc::default(),
        }
    }

    /// Adds an update, and has it on the disk. If there is an entry of the same update, this
    /// one takes its place. What the disk does not take is kept in memory, told of, and
    /// written before the next update is.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub fn add(&self, entry: &HistoryEntry) -> io::Result<()> {
        let mut unwritten = self.unwritten();
        unwritten.retain(|known| known.update != entry.update);
        if unwritten.len() >= MAX_UNWRITTEN {
            unwritten.remove(0);
        }
        unwritten.push(entry.clone());
        while let Some(first) = unwritten.first() {
            self.write(first)?;
            unwritten.remove(0);
        }
        Ok(())
    }

    /// The number of updates that the disk has not taken.
    #[must_use]
    pub fn count_unwritten(&self) -> usize {
        self.unwritten().len()
    }

    fn unwritten(&self) -> MutexGuard<'_, Vec<HistoryEntry>> {
        self.unwritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, entry: &HistoryEntry) -> io::Result<()> {
        let folder = self.folder();
        fs::create_dir_all(folder)?;
        if fs::metadata(&self.path).is_ok_and(|file| file.len() >= MAX_FILE) {
            fs::rename(&self.path, self.path.with_extension("jsonl.old"))?;
        }
        let mut options = OpenOptions::new();
        options.create(true).append(true).read(true);
        let mut file = regular::open(&self.path, &mut options)?;
        let length = file.metadata()?.len();
        let mut line = Vec::new();
        // What a crash or a full disk has cut off must not swallow this line too.
        if length > 0 && last_byte(&file, length)? != b'\n' {
            line.push(b'\n');
        }
        serde_json::to_writer(&mut line, entry)?;
        line.push(b'\n');
        if let Err(why) = file.write_all(&line) {
            // Half a line is of no use, and takes the room of a whole one.
            let _ = file.set_len(length);
            return Err(why);
        }
        file.sync_data()?;
        // A new file is there after a crash only if its folder is on the disk too.
        match length {
            0 => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Whether an update could be written down now: the folder can be written to, and the
    /// disk has room for one.
    ///
    /// # Errors
    /// Why not.
    pub fn is_writable(&self) -> io::Result<()> {
        let folder = self.folder();
        fs::create_dir_all(folder)?;
        regular::open(&self.path, OpenOptions::new().create(true).append(true))?;
        let trial = folder.join(".trial");
        let written = fs::write(&trial, [b'\n'; TRIAL]);
        let removed = fs::remove_file(&trial);
        written.and(removed)
    }

    /// The last updates, the newest first. Lines that do not read are named and passed
    /// over: another version may have written them, or a crash have cut them off.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn last(&self, most: usize) -> io::Result<Past> {
        let mut past = self.on_the_disk(most)?;
        for entry in self.unwritten().iter() {
            let update = &entry.update;
            past.problems.push(format!(
                "update {update} could not be written down: it is lost if luod ends now"
            ));
            past.updates.retain(|known| known.update != *update);
            past.updates.insert(0, entry.clone());
        }
        past.updates.truncate(most);
        Ok(past)
    }

    fn on_the_disk(&self, most: usize) -> io::Result<Past> {
        let file = match regular::open(&self.path, OpenOptions::new().read(true)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Past::default()),
            Err(error) => return Err(error),
        };
        // Lines stay lines until it is known that they are wanted.
        let mut lines: VecDeque<(String, Vec<u8>)> = VecDeque::new();
        let mut past = Past::default();
        let mut held = 0;
        let mut bad: u64 = 0;
        let length = file.metadata()?.len();
        if length > MAX_READ {
            let why = format!("it has {length} bytes, more than the {MAX_READ} that are read");
            return Err(io::Error::other(why));
        }
        let mut reader = BufReader::new(file.take(MAX_READ));
        for number in 1_u64.. {
            let mut line = Vec::new();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let entry = match line.len() {
                length if length > MAX_LINE => Err(None),
                _ => serde_json::from_slice::<HistoryEntry>(&line).map_err(Some),
            };
            let update = match entry {
                Ok(entry) => entry.update,
                Err(_) if line.trim_ascii().is_empty() => continue,
                Err(why) => {
                    bad += 1;
                    if past.problems.len() < MAX_PROBLEMS {
                        let why = match why {
                            Some(why) => why.to_string(),
                            None => format!("it has {} bytes", line.len()),
                        };
                        let file = self.path.display();
                        past.problems.push(format!("{file}, line {number}: {why}"));
                    }
                    continue;
                }
            };
            held += line.len();
            match lines.iter_mut().find(|(known, _)| *known == update) {
                Some((_, earlier)) => {
                    held -= earlier.len();
                    *earlier = line;
                }
                None => lines.push_back((update, line)),
            }
            while lines.len() > most || held > MAX_ANSWER {
                held -= lines.pop_front().map_or(0, |(_, line)| line.len());
            }
        }
        let more = bad.saturating_sub(MAX_PROBLEMS as u64);
        if more > 0 {
            let file = self.path.display();
            past.problems.push(format!("{file}: and {more} more lines"));
        }
        let read = |(_, line): &(String, Vec<u8>)| serde_json::from_slice(line).ok();
        past.updates = lines.iter().rev().filter_map(read).collect();
        Ok(past)
    }
}

/// The last byte of a file that is not empty.
fn last_byte(file: &File, length: u64) -> io::Result<u8> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, length.saturating_sub(1))?;
    Ok(byte[0])
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

    fn names(past: &Past) -> Vec<&str> {
        let names = past.updates.iter().map(|entry| entry.update.as_str());
        names.collect()
    }

    fn append(history: &History, bytes: &[u8]) {
        let file = OpenOptions::new().append(true).open(&history.path);
        file.unwrap().write_all(bytes).unwrap();
    }

    #[test]
    fn the_newest_comes_first_and_damage_is_named_and_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::in_directory(&folder.path().join("state"));
        assert!(history.last(5).unwrap().updates.is_empty());
        for update in ["one", "two", "three"] {
            history.add(&entry(update)).unwrap();
        }
        append(&history, b"{\"update\":\"half");
        let past = history.last(2).unwrap();
        assert_eq!(names(&past), ["three", "two"]);
        assert!(past.problems[0].contains("line 4: "), "{:?}", past.problems);
        // What is torn swallows nothing, and what is no entry takes no entry's place.
        history.add(&entry("four")).unwrap();
        append(&history, b"{\"some\": \"thing\"}\n\n");
        let past = history.last(1).unwrap();
        assert_eq!(names(&past), ["four"]);
        assert_eq!(past.problems.len(), 2, "{:?}", past.problems);
    }

    #[test]
    fn of_many_bad_lines_the_first_are_told_and_the_others_counted() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::in_directory(folder.path());
        history.add(&entry("one")).unwrap();
        append(&history, &b"x\n".repeat(100_000));
        history.add(&entry("two")).unwrap();
        let past = history.last(5).unwrap();
        assert_eq!(names(&past), ["two", "one"]);
        assert_eq!(past.problems.len(), MAX_PROBLEMS + 1);
        let last = past.problems.last().unwrap();
        assert!(last.ends_with("and 99992 more lines"), "{last}");
        // A file without an end is not read.
        let file = OpenOptions::new().write(true).open(&history.path);
        file.unwrap().set_len(MAX_READ + 1).unwrap();
        assert!(history.last(5).is_err());
    }

    #[test]
    fn what_is_no_file_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::in_directory(folder.path());
        let kind = rustix::fs::FileType::Fifo;
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &history.path, kind, mode, 0).unwrap();
        for why in [
            history.last(5).unwrap_err(),
            history.is_writable().unwrap_err(),
            history.add(&entry("one")).unwrap_err(),
        ] {
            assert!(why.to_string().contains("no regular file"), "{why}");
        }
    }

    #[test]
    fn a_later_entry_of_an_update_takes_the_place_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::in_directory(folder.path());
        history.add(&entry("one")).unwrap();
        history.add(&entry("two")).unwrap();
        let later = HistoryEntry {
            reason: Some("late".into()),
            ..entry("one")
        };
        history.add(&later).unwrap();
        let past = history.last(5).unwrap();
        assert_eq!(names(&past), ["two", "one"]);
        assert_eq!(past.updates[1], later);
        assert!(past.problems.is_empty());
    }

    #[test]
    fn what_the_disk_does_not_take_is_told_of_and_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let history = History::in_directory(&state);
        history.add(&entry("one")).unwrap();
        let file = fs::read(&history.path).unwrap();
        // Somebody has put a file where the folder was.
        fs::remove_dir_all(&state).unwrap();
        fs::write(&state, "").unwrap();
        assert!(history.add(&entry("two")).is_err());
        assert!(history.clone().last(5).is_err());
        fs::remove_file(&state).unwrap();
        fs::create_dir(&state).unwrap();
        fs::write(&history.path, file).unwrap();
        let past = history.last(5).unwrap();
        assert_eq!(names(&past), ["two", "one"]);
        assert!(past.problems[0].contains("update two"), "{past:?}");
        history.add(&entry("three")).unwrap();
        let past = History::in_directory(&state).last(5).unwrap();
        assert_eq!(names(&past), ["three", "two", "one"]);
        assert!(past.problems.is_empty());
    }

    #[test]
    fn a_folder_that_is_none_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let history = History::in_directory(&folder.path().join("file"));
        assert!(history.add(&entry("one")).is_err());
        assert!(history.is_writable().is_err());
        assert!(history.last(5).is_err());
        let good = History::in_directory(&folder.path().join("new"));
        good.is_writable().unwrap();
        assert!(good.last(5).unwrap().updates.is_empty());
    }
}
