// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file: lines are added at its end, and read with distrust.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use luo_varlink::{HistoryEntry, Phase};

use super::limits::{MAX_FILE, MAX_READ};
use super::line::written;
use super::past::{Mark, Past, reached};
use super::read::{Known, Read};
use crate::journal::{picture, regular};

/// Bytes that a usual entry has at most.
const TRIAL: usize = 64 << 10;

/// The file of one machine's history.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) path: PathBuf,
    /// How often it was tried whether it can be written.
    trials: Arc<AtomicUsize>,
}

impl Disk {
    /// The file at a path, which may not be there yet.
    pub(super) fn at(path: PathBuf) -> Self {
        Self {
            path,
            trials: Arc::default(),
        }
    }

    /// Whether there is a file, or one that was put aside.
    pub(super) fn is_there(&self) -> io::Result<bool> {
        Ok(fs::exists(&self.path)? || fs::exists(self.aside())?)
    }

    pub(super) fn append(&self, entry: &HistoryEntry, mark: &Mark) -> io::Result<()> {
        let folder = self.folder();
        fs::create_dir_all(folder)?;
        if fs::metadata(&self.path).is_ok_and(|file| file.len() >= MAX_FILE) {
            fs::rename(&self.path, self.aside())?;
        }
        let mut file = self.open(OpenOptions::new().create(true).append(true).read(true))?;
        let length = file.metadata()?.len();
        let mut line = Vec::new();
        // A line that a crash or a full disk has cut off must not swallow this one too.
        if length > 0 && last_byte(&file, length)? != b'\n' {
            line.push(b'\n');
        }
        line.extend(written(entry, mark)?);
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
    pub(super) fn is_writable(&self) -> io::Result<()> {
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

    pub(super) fn on_the_disk(&self, most: usize, bytes: usize) -> io::Result<Past> {
        let read = self.lines(most, bytes)?;
        let entry = |known: &Known| -> Option<HistoryEntry> {
            let mut entry: HistoryEntry = serde_json::from_slice(&known.line).ok()?;
            if !entry.outcome.is_over() {
                let phase = reached(&entry);
                let mut reason = format!("the last that was written down of it: {phase}");
                if read.is_doubtful(known) {
                    reason.push_str("; lines behind it cannot be read");
                }
                entry.reason = Some(reason);
                // How long it took by then says nothing of how long it takes.
                entry.took_us = None;
            }
            Some(entry)
        };
        Ok(Past {
            updates: read.lines.iter().rev().filter_map(entry).collect(),
            left_out: read.left_out(most),
            is_unsure: read.is_unsure(),
            problems: read.problems,
        })
    }

    /// The last lines, of the file that was put aside too, as many bytes of them as one may
    /// have at a time; and what cannot be read.
    pub(super) fn lines(&self, most: usize, bytes: usize) -> io::Result<Read> {
        let mut read = Read::new(most, bytes);
        // An older file that cannot be read keeps nobody from the newer one.
        if let Err(why) = self.read(&self.aside(), &mut read) {
            let file = self.aside();
            read.problems.push(format!("{}: {why}", file.display()));
        }
        self.read(&self.path, &mut read).map_err(|why| {
            let text = format!("{}: {why}", self.path.display());
            io::Error::new(why.kind(), text)
        })?;
        read.count_the_rest();
        Ok(read)
    }

    /// The older file.
    pub(super) fn aside(&self) -> PathBuf {
        self.path.with_extension("jsonl.old")
    }

    fn read(&self, path: &Path, read: &mut Read) -> io::Result<()> {
        let file = match regular::open(path, OpenOptions::new().read(true)) {
            Ok(file) => file,
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                return match path.is_symlink() {
                    true => Err(io::Error::other("it is a link to what is not there")),
                    false => Ok(()),
                };
            }
            Err(why) => return Err(why),
        };
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
            read.take(line, || format!("{}, line {number}", path.display()));
        }
        Ok(())
    }
}

/// The last byte of a file that is not empty.
fn last_byte(file: &File, length: u64) -> io::Result<u8> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, length.saturating_sub(1))?;
    Ok(byte[0])
}
