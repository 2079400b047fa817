// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file: lines are added at its end, and read with distrust.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use luo_varlink::{HistoryEntry, Phase};

use super::History;
use super::past::{Line, Lines, Mark, Past, reached};
use crate::journal::{picture, regular};

/// Bytes at which the file is put aside and a new one begun; one old one is kept.
const MAX_FILE: u64 = 16 << 20;

/// Bytes of a file that is read: more than this writes.
pub(super) const MAX_READ: u64 = 4 * MAX_FILE;

/// Bytes of a line that is read.
const MAX_LINE: usize = 4 << 20;

/// Bytes of lines that one question is answered with, the newest lines.
const MAX_ANSWER: usize = 4 << 20;

/// Lines that cannot be read of which one answer tells; the others are counted.
pub(super) const MAX_PROBLEMS: usize = 8;

/// Bytes that a usual entry has at most.
const TRIAL: usize = 64 << 10;

impl History {
    pub(super) fn append(&self, entry: &HistoryEntry, mark: &Mark) -> io::Result<()> {
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

    pub(super) fn on_the_disk(&self, most: usize) -> io::Result<Past> {
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
    pub(super) fn lines(&self, most: usize) -> io::Result<(Lines, Vec<String>)> {
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
