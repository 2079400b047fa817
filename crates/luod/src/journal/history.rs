// SPDX-License-Identifier: MIT OR Apache-2.0
//! The updates: one line of JSON each.
//!
//! ```text
//! begun -> about to jump -> taken back in the next kernel -> over
//! ```
//!
//! An update writes a line at each of these; the last line of an update counts. So one that
//! ended with its machine stands there as under way, with the boot in which that was so, and
//! whoever starts next can tell what came of it.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use luo_varlink::{HistoryEntry, Phase};
use serde::{Deserialize, Serialize};

use super::notes::epoch;
use super::{picture, regular};

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

/// Updates that are looked through for such as are not over.
const MOST_OPEN: usize = 64;

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

/// What a line of an update that is under way says beside the update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The boot in which it was under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Where a picture of it is wanted when it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
}

/// A line, as it is written.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    entry: &'a HistoryEntry,
    #[serde(flatten)]
    mark: &'a Mark,
}

/// An update that the disk has as under way.
#[derive(Clone, Debug)]
pub struct Open {
    /// The update, as it was written.
    pub entry: HistoryEntry,
    /// Whether that was in this boot.
    pub is_of_this_boot: bool,
    /// Where a picture of it is wanted when it is over.
    pub report: Option<String>,
}

impl Open {
    /// How far it had come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        reached(&self.entry)
    }
}

/// How far an update has come by its timeline.
fn reached(entry: &HistoryEntry) -> Phase {
    let last = entry.timeline.last();
    last.map_or(Phase::Preparing, |line| line.phase)
}

/// Lines that were read, each with its update.
type Lines = VecDeque<(String, Vec<u8>)>;

impl Past {
    /// Puts an update before all others, in place of what is known of it.
    pub fn put(&mut self, entry: HistoryEntry) {
        self.updates.retain(|known| known.update != entry.update);
        self.updates.insert(0, entry);
    }
}

/// An update that the disk has not taken yet.
#[derive(Clone, Debug)]
struct Unwritten {
    entry: HistoryEntry,
    mark: Mark,
    /// Why not; nothing as long as it is tried for the first time.
    why: Option<String>,
}

/// What is to be written.
#[derive(Debug, Default)]
struct Queue {
    /// The updates, the oldest first.
    entries: Vec<Unwritten>,
    /// A thread is at it.
    is_writing: bool,
    /// The agent's notes have them too.
    are_noted: bool,
}

/// The history of one machine. A disk may hang for ever: no lock is held while one is asked.
#[derive(Clone, Debug)]
pub struct History {
    path: PathBuf,
    /// Which boot this is.
    boot: Arc<str>,
    queue: Arc<Mutex<Queue>>,
    /// How often it was tried whether it can be written.
    trials: Arc<AtomicUsize>,
}

impl History {
    /// The history in a state directory, which may not be there yet.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            path: directory.join(FILE),
            boot: epoch().into(),
            queue: Arc::default(),
            trials: Arc::default(),
        }
    }

    /// Whether there is a history.
    ///
    /// # Errors
    /// Its folder cannot be looked at.
    pub fn is_there(&self) -> io::Result<bool> {
        fs::exists(&self.path)
    }

    /// Adds an update that is to be written. If there is an entry of the same update, this one
    /// takes its place. What the disk does not take is kept in memory and told of.
    pub fn put(&self, entry: &HistoryEntry) {
        self.put_with(entry, Mark::default());
    }

    /// The same of an update that is under way. `report` says where a picture of it is wanted
    /// when it is over.
    pub fn put_under_way(&self, entry: &HistoryEntry, report: Option<&str>) {
        let mark = Mark {
            boot: Some(self.boot.to_string()),
            report: report.map(str::to_owned),
        };
        self.put_with(entry, mark);
    }

    fn put_with(&self, entry: &HistoryEntry, mark: Mark) {
        let mut queue = self.queue();
        let entries = &mut queue.entries;
        entries.retain(|known| known.entry.update != entry.update);
        if entries.len() >= MAX_UNWRITTEN {
            entries.remove(0);
        }
        entries.push(Unwritten {
            entry: entry.clone(),
            mark,
            why: None,
        });
    }

    /// Has all that is to be written on the disk. It may take for ever. Says whether it has
    /// done so: not if another thread is at it, which does it all.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub fn write(&self) -> io::Result<bool> {
        {
            let mut queue = self.queue();
            if queue.is_writing {
                return Ok(false);
            }
            queue.is_writing = true;
        }
        loop {
            let next = {
                let mut queue = self.queue();
                let next = queue.entries.first();
                let next = next.map(|first| (first.entry.clone(), first.mark.clone()));
                queue.is_writing = next.is_some();
                next
            };
            let Some((entry, mark)) = next else {
                return Ok(true);
            };
            if let Err(why) = self.append(&entry, &mark) {
                self.queue().is_writing = false;
                self.is_not_taken(&why.to_string());
                return Err(why);
            }
            // It may have been amended meanwhile.
            let entries = &mut self.queue().entries;
            entries.retain(|known| known.entry != entry);
        }
    }

    /// Notes why the disk has not taken what is to be written.
    pub fn is_not_taken(&self, why: &str) {
        for known in &mut self.queue().entries {
            known.why = Some(why.to_owned());
        }
    }

    /// The updates that are over and to be written, the oldest first.
    #[must_use]
    pub fn unwritten(&self) -> Vec<HistoryEntry> {
        let queue = self.queue();
        let over = queue.entries.iter();
        let over = over.filter(|known| known.entry.outcome.is_over());
        over.map(|known| known.entry.clone()).collect()
    }

    /// Whether an update is about to be written: the disk has neither taken nor refused it.
    #[must_use]
    pub fn is_to_take(&self, update: &str) -> bool {
        let queue = self.queue();
        let mut entries = queue.entries.iter();
        entries.any(|known| known.entry.update == update && known.why.is_none())
    }

    /// Notes whether an agent that is started again finds what is to be written.
    pub fn are_noted(&self, are_noted: bool) {
        self.queue().are_noted = are_noted;
    }

    /// The number of updates that are over and that the disk has not taken.
    #[must_use]
    pub fn count_unwritten(&self) -> usize {
        let queue = self.queue();
        queue
            .entries
            .iter()
            .filter(|known| known.why.is_some() && known.entry.outcome.is_over())
            .count()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, entry: &HistoryEntry, mark: &Mark) -> io::Result<()> {
        let folder = self.folder();
        fs::create_dir_all(folder)?;
        if fs::metadata(&self.path).is_ok_and(|file| file.len() >= MAX_FILE) {
            fs::rename(&self.path, self.path.with_extension("jsonl.old"))?;
        }
        let mut file = self.open(OpenOptions::new().create(true).append(true).read(true))?;
        let length = file.metadata()?.len();
        let mut line = Vec::new();
        // What a crash or a full disk has cut off must not swallow this line too.
        if length > 0 && last_byte(&file, length)? != b'\n' {
            line.push(b'\n');
        }
        serde_json::to_writer(&mut line, &Line { entry, mark })?;
        line.push(b'\n');
        if let Err(why) = file.write_all(&line) {
            // Half a line is of no use, and takes the room of a whole one.
            let _ = file.set_len(length);
            return Err(why);
        }
        // How far an update is that is under way comes to the disk by and by, but for the last
        // word before the jump.
        let is_urgent = entry.outcome.is_over() || reached(entry) == Phase::Jumping;
        if is_urgent || length == 0 {
            file.sync_data()?;
        }
        // A new file is there after a crash only if its folder is on the disk too.
        match length {
            0 => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    }

    /// Opens the file. What is no file is not waited for.
    fn open(&self, options: &mut OpenOptions) -> io::Result<File> {
        regular::open(&self.path, options)
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
        self.open(OpenOptions::new().create(true).append(true).read(true))?;
        // Several may try at the same time, and one may hang.
        let number = self.trials.fetch_add(1, Ordering::Relaxed);
        let trial = folder.join(format!(".trial.{number}"));
        let written = picture::create(&trial).and_then(|mut file| file.write_all(&[b'\n'; TRIAL]));
        let removed = fs::remove_file(&trial);
        written.and(removed)
    }

    /// The last updates, the newest first. Lines that do not read are named and passed
    /// over: another version may have written them, or a crash have cut them off.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn last(&self, most: usize) -> io::Result<Past> {
        // What is written meanwhile is neither missed nor told of as it was before.
        let before = self.queue().entries.clone();
        let mut past = self.on_the_disk(most)?;
        for Unwritten { entry, .. } in before {
            past.put(entry);
        }
        let queue = self.queue();
        let fate = match queue.are_noted {
            true => "luod keeps it in its notes, which end with this boot",
            false => "it is lost if luod ends now",
        };
        for Unwritten { entry, why, .. } in &queue.entries {
            let update = &entry.update;
            let why = why.as_ref().filter(|_| entry.outcome.is_over());
            past.problems.extend(
                why.map(|why| format!("update {update} could not be written down ({why}): {fate}")),
            );
            past.put(entry.clone());
        }
        past.updates.truncate(most);
        Ok(past)
    }

    /// The updates that the disk has as under way, the oldest first, but for those of which
    /// something is to be written; and the newest update of all.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn open_ends(&self) -> io::Result<(Vec<Open>, Option<HistoryEntry>)> {
        let (is_known, queued) = {
            let queue = self.queue();
            let known = queue.entries.iter();
            let is_known: Vec<_> = known.map(|known| known.entry.update.clone()).collect();
            (
                is_known,
                queue.entries.last().map(|last| last.entry.clone()),
            )
        };
        let (lines, _) = self.lines(MOST_OPEN)?;
        let written = || serde_json::from_slice(&lines.back()?.1).ok();
        let newest = queued.or_else(written);
        let open = lines.iter().filter_map(|(update, line)| {
            let entry: HistoryEntry = serde_json::from_slice(line).ok()?;
            let mark: Mark = serde_json::from_slice(line).ok()?;
            let is_open = !entry.outcome.is_over() && !is_known.contains(update);
            is_open.then(|| Open {
                entry,
                is_of_this_boot: mark.boot.as_deref() == Some(&*self.boot),
                report: mark.report,
            })
        });
        Ok((open.collect(), newest))
    }

    fn on_the_disk(&self, most: usize) -> io::Result<Past> {
        let (lines, problems) = self.lines(most)?;
        let read = |(_, line): &(String, Vec<u8>)| -> Option<HistoryEntry> {
            let mut entry: HistoryEntry = serde_json::from_slice(line).ok()?;
            if !entry.outcome.is_over() {
                let phase = reached(&entry);
                entry.reason = Some(format!("the last that was written down of it: {phase}"));
            }
            Some(entry)
        };
        Ok(Past {
            updates: lines.iter().rev().filter_map(read).collect(),
            problems,
        })
    }

    /// The last lines, the oldest first, each with its update; and what cannot be read.
    fn lines(&self, most: usize) -> io::Result<(Lines, Vec<String>)> {
        // Lines stay lines until it is known that they are wanted.
        let mut lines = Lines::new();
        let mut problems = Vec::new();
        let file = match self.open(OpenOptions::new().read(true)) {
            Ok(file) => file,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok((lines, problems)),
            Err(why) => return Err(why),
        };
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
                    if problems.len() < MAX_PROBLEMS {
                        let why = match why {
                            Some(why) => why.to_string(),
                            None => format!("it has {} bytes", line.len()),
                        };
                        let file = self.path.display();
                        problems.push(format!("{file}, line {number}: {why}"));
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
            let problem = format!("{more} more lines of it cannot be read");
            problems.push(problem);
        }
        Ok((lines, problems))
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

    fn add(history: &History, entry: &HistoryEntry) -> io::Result<bool> {
        history.put(entry);
        history.write()
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
            add(&history, &entry(update)).unwrap();
        }
        append(&history, b"{\"update\":\"half");
        let past = history.last(2).unwrap();
        assert_eq!(names(&past), ["three", "two"]);
        assert!(past.problems[0].contains("line 4: "), "{:?}", past.problems);
        // What is torn swallows nothing, and what is no entry takes no entry's place.
        add(&history, &entry("four")).unwrap();
        append(&history, b"{\"some\": \"thing\"}\n\n");
        let past = history.last(1).unwrap();
        assert_eq!(names(&past), ["four"]);
        assert_eq!(past.problems.len(), 2, "{:?}", past.problems);
    }

    #[test]
    fn a_history_without_an_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::in_directory(folder.path());
        let file = File::create(&history.path).unwrap();
        file.set_len(MAX_READ + 1).unwrap();
        let why = history.last(5).unwrap_err().to_string();
        assert!(why.contains("more than"), "{why}");
    }

    #[test]
    fn a_later_entry_of_an_update_takes_the_place_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::in_directory(folder.path());
        add(&history, &entry("one")).unwrap();
        add(&history, &entry("two")).unwrap();
        let later = HistoryEntry {
            reason: Some("late".into()),
            ..entry("one")
        };
        add(&history, &later).unwrap();
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
        add(&history, &entry("one")).unwrap();
        let file = fs::read(&history.path).unwrap();
        // Somebody has put a file where the folder was.
        fs::remove_dir_all(&state).unwrap();
        fs::write(&state, "").unwrap();
        assert!(add(&history, &entry("two")).is_err());
        assert!(history.clone().last(5).is_err());
        fs::remove_file(&state).unwrap();
        fs::create_dir(&state).unwrap();
        fs::write(&history.path, file).unwrap();
        let past = history.last(5).unwrap();
        assert_eq!(names(&past), ["two", "one"]);
        assert!(past.problems[0].contains("update two"), "{past:?}");
        add(&history, &entry("three")).unwrap();
        let past = History::in_directory(&state).last(5).unwrap();
        assert_eq!(names(&past), ["three", "two", "one"]);
        assert!(past.problems.is_empty());
    }

    #[test]
    fn a_folder_that_is_none_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let history = History::in_directory(&folder.path().join("file"));
        assert!(add(&history, &entry("one")).is_err());
        assert!(history.is_writable().is_err());
        assert!(history.last(5).is_err());
        let good = History::in_directory(&folder.path().join("new"));
        good.is_writable().unwrap();
        assert!(good.last(5).unwrap().updates.is_empty());
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let history = History::in_directory(folder.path());
        for name in [FILE, ".trial.0"] {
            let path = folder.path().join(name);
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        }
        assert!(history.is_writable().is_err());
        assert!(history.last(5).is_err());
        assert!(add(&history, &entry("one")).is_err());
        fs::remove_file(&history.path).unwrap();
        history.is_writable().unwrap();
        let past = history.last(5).unwrap();
        assert!(
            past.problems[0].contains("is lost if luod ends"),
            "{past:?}"
        );
        history.are_noted(true);
        let past = history.last(5).unwrap();
        assert!(past.problems[0].contains("in its notes"), "{past:?}");
    }

    #[test]
    fn many_try_at_the_same_time_and_none_is_in_anothers_way() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::in_directory(folder.path());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..50).for_each(|_| history.is_writable().unwrap()));
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn of_many_bad_lines_some_are_named_and_all_counted() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::in_directory(folder.path());
        add(&history, &entry("one")).unwrap();
        append(&history, "x\n".repeat(100_000).as_bytes());
        let past = history.last(5).unwrap();
        assert_eq!(names(&past), ["one"]);
        assert_eq!(past.problems.len(), MAX_PROBLEMS + 1);
        assert!(past.problems[MAX_PROBLEMS].starts_with("99992 more"));
    }

    #[test]
    fn who_asks_while_a_disk_hangs_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::in_directory(folder.path());
        // A thread is at it, and does not come back.
        history.queue().is_writing = true;
        assert!(!add(&history, &entry("one")).unwrap());
        assert_eq!(
            (history.count_unwritten(), history.unwritten().len()),
            (0, 1)
        );
        assert!(
            history.last(5).unwrap().problems.is_empty(),
            "it is being written"
        );
        history.is_not_taken("the disk does not answer");
        assert_eq!(history.count_unwritten(), 1);
        let past = history.last(5).unwrap();
        assert!(past.problems[0].contains("does not answer"), "{past:?}");
        assert_eq!(names(&past), ["one"]);
    }
}
