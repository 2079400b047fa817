// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notes that the agent leaves beside its sockets for its next process in the same boot.
//!
//! ```text
//! state/epoch               which boot the rest belongs to
//! state/update              the update that is under way before the jump: its id, and when
//!                           it began
//! state/jumping             is there if the service manager has been told to jump
//! state/record              the record that the previous kernel handed over, as it came
//! state/progress            how far the workloads of the record have come back
//! state/late                the last update, while some of its workloads are late
//! state/unwritten           updates that are over, and that the history does not have yet;
//!                           one that was damaged is kept as unwritten.damaged
//! state/workloads/NAME      a workload that has sessions in the descriptor store
//! ```
//!
//! Another boot's notes are of no use and are removed. Each file is replaced whole.
//!
//! The folder is in memory, which others may fill. `state/.reserve` holds some of that for
//! notes alone: it makes way for a note that finds no room. Where that is gone too, a note
//! fails, and whatever relies on it is refused.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use luo_timeline::Moment;
use luo_varlink::{HistoryEntry, Identity};
use rustix::fs::OFlags;
use rustix::process::{Resource, getrlimit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::regular;

/// The file that holds room for notes.
const RESERVE: &str = ".reserve";

/// Bytes of that: some hundred notes, of a page each.
pub const ROOM: u64 = 1 << 20;

/// Bytes of updates that are noted with all that happened in them.
const MAX_UNWRITTEN: usize = 4 << 20;

/// Bytes of a note that are read: a record is the longest.
const MAX_NOTE: u64 = 128 << 20;

/// Bytes of the id of an update.
const MAX_ID: usize = 128;

/// The notes of one boot.
#[derive(Clone, Debug)]
pub struct Notes {
    folder: PathBuf,
    epoch: String,
    /// Whether the folder says which boot its notes are of. None is written before.
    is_of_this_boot: Arc<AtomicBool>,
}

/// Whether an error says that there is no room.
fn is_full(why: &io::Error) -> bool {
    matches!(
        why.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

/// An update that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Its id.
    pub id: String,
    /// When it began: microseconds since 1970. None if an earlier version noted it.
    pub began_us: Option<u64>,
    /// Where a picture of it is wanted when it is over.
    pub report: Option<String>,
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
    /// Whether the deadline has passed by which they were expected.
    #[serde(default)]
    pub overdue: bool,
    /// What was wrong with an earlier note of this, if it was damaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
    /// Workloads of which it is not known since then whether they serve again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubt: Vec<String>,
}

/// An update that has ended without some of its workloads, which may still come back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Late {
    /// What the history says of it.
    pub entry: HistoryEntry,
    /// Where a picture of it is wanted.
    pub report: Option<String>,
    /// When the first workload was asked to stand still.
    pub freeze: Moment,
    /// Whether the workloads stood still when the machine jumped.
    pub frozen: bool,
    /// When it has ended: microseconds since 1970.
    pub ended_us: u64,
    /// The workloads that have not come back.
    pub missing: BTreeSet<String>,
    /// Sessions that were released because nobody claimed them.
    pub released: BTreeSet<String>,
    /// Those that have come back since, in words.
    pub came: Vec<String>,
    /// Microseconds by which this kernel's clock is behind the previous one's.
    pub behind_us: i64,
}

impl Notes {
    /// Opens the notes of this boot in the folder of the sockets. If there is no room for
    /// them, that is said, and each note is tried again when it is due.
    ///
    /// # Errors
    /// The folder cannot be read, or cannot be written to for another reason.
    pub fn open(runtime: &Path) -> io::Result<Self> {
        let notes = Self {
            folder: runtime.join("state"),
            epoch: epoch(),
            is_of_this_boot: Arc::default(),
        };
        if notes.are_of_this_boot()? {
            // A word for it that is damaged is written anew.
            let is_told = notes.word().is_some();
            notes.is_of_this_boot.store(is_told, Ordering::Relaxed);
        } else {
            match fs::remove_dir_all(&notes.folder) {
                Err(why) if why.kind() != ErrorKind::NotFound => return Err(why),
                _ => {}
            }
        }
        match notes.reserve() {
            Err(why) if is_full(&why) => tracing::error!(
                "there is no room for notes, and what needs one is refused: {} KiB are needed in \
                 {}: {why}",
                ROOM >> 10,
                notes.folder.display()
            ),
            reserved => reserved.map_err(|why| of(&notes.folder, &why))?,
        }
        Ok(notes)
    }

    /// The updates that an agent of this boot could not write down, for whoever looks while none
    /// runs.
    ///
    /// # Errors
    /// As the file system answers; or the note cannot be parsed.
    pub fn left_behind(runtime: &Path) -> io::Result<Vec<HistoryEntry>> {
        let notes = Self {
            folder: runtime.join("state"),
            epoch: epoch(),
            is_of_this_boot: Arc::default(),
        };
        match notes.are_of_this_boot()? {
            true => notes.unwritten(),
            false => Ok(Vec::new()),
        }
    }

    /// Whether what stands in the folder is of this boot. What is in memory can be of no other, so
    /// nothing is lost there because the word for it is damaged.
    fn are_of_this_boot(&self) -> io::Result<bool> {
        if let Some(noted) = self.word() {
            return Ok(is_same_boot(&noted, &self.epoch));
        }
        let is_there = fs::exists(self.folder.join("workloads"))?;
        let is_kept = is_there && is_in_memory(&self.folder);
        if is_kept {
            tracing::error!(
                "{} does not say any more which boot it is of; it is in memory, so it is of this one",
                self.folder.display()
            );
        }
        Ok(is_kept)
    }

    /// The word for which boot the notes are of; `None` if it is not there, or is damaged.
    fn word(&self) -> Option<String> {
        let noted = self.read("epoch").unwrap_or_else(|why| {
            tracing::error!("which boot the notes are of: {why}");
            None
        });
        let noted = String::from_utf8(noted.unwrap_or_default()).ok();
        noted.filter(|noted| noted.contains('/'))
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Has room for notes to come, whoever fills the folder's file system meanwhile.
    ///
    /// # Errors
    /// There is no room.
    pub fn reserve(&self) -> io::Result<()> {
        self.begin()?;
        let path = self.folder.join(RESERVE);
        if fs::metadata(&path).is_ok_and(|file| file.len() == ROOM) {
            return Ok(());
        }
        // A process that writes more than it may is ended by a signal.
        if getrlimit(Resource::Fsize)
            .current
            .is_some_and(|most| most < ROOM)
        {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let fill = |mut file| io::copy(&mut io::repeat(0).take(ROOM), &mut file);
        let filled = create(&path).and_then(fill).map(drop);
        if filled.is_err() {
            // Half of it is not told from all of it by who looks next.
            let _ = fs::remove_file(&path);
        }
        filled
    }

    /// Has the folder, and in it the word for which boot it is.
    fn begin(&self) -> io::Result<()> {
        fs::create_dir_all(self.folder.join("workloads"))?;
        if !self.is_of_this_boot.load(Ordering::Relaxed) {
            self.replace("epoch", self.epoch.as_bytes())?;
            self.is_of_this_boot.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The update that was under way.
    ///
    /// # Errors
    /// As the file system answers; `InvalidData`: the note is damaged.
    pub fn update(&self) -> io::Result<Option<Begun>> {
        let Some(bytes) = self.read("update")? else {
            return Ok(None);
        };
        let damaged = || io::Error::new(ErrorKind::InvalidData, "it names no update");
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged())?;
        let mut lines = text.lines();
        let mut words = lines.next().unwrap_or_default().split_whitespace();
        let id = words.next().filter(|id| is_id(id)).ok_or_else(damaged)?;
        let id = id.to_owned();
        // An earlier version has noted the id alone.
        let began_us = words.next().and_then(|word| word.parse().ok());
        let report = lines.next().map(str::to_owned);
        Ok(Some(Begun {
            id,
            began_us,
            report,
        }))
    }

    /// Notes the update that is under way.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn set_update(&self, update: Option<&Begun>) -> io::Result<()> {
        match update {
            Some(Begun {
                id,
                began_us,
                report,
            }) => {
                let began_us = began_us.map(|time| time.to_string()).unwrap_or_default();
                let report = report.iter().map(|path| format!("{path}\n"));
                let report: String = report.collect();
                self.write("update", format!("{id} {began_us}\n{report}").as_bytes())
            }
            None => {
                self.remove("jumping")?;
                self.remove("update")
            }
        }
    }

    /// Whether the service manager has been told to jump.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn is_jumping(&self) -> io::Result<bool> {
        // Nothing stands in it.
        match fs::symlink_metadata(self.folder.join("jumping")) {
            Ok(_) => Ok(true),
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(false),
            Err(why) => Err(why),
        }
    }

    /// Notes that the service manager is about to be told to jump.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn set_jumping(&self) -> io::Result<()> {
        self.write("jumping", b"")
    }

    /// The record that was handed over.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn record(&self) -> io::Result<Option<Vec<u8>>> {
        self.read("record")
    }

    /// Notes the record that was handed over, and that nobody has come back if nothing is known
    /// of that.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn begin_record(&self, record: &[u8]) -> io::Result<()> {
        if !fs::exists(self.folder.join("progress"))? {
            self.set_progress(&Progress::default())?;
        }
        self.set_record(Some(record))
    }

    /// Notes the record that was handed over.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn set_record(&self, record: Option<&[u8]>) -> io::Result<()> {
        match record {
            Some(record) => self.write("record", record),
            None => {
                // A record without this one would say that it is lost.
                self.remove("record")?;
                self.remove("progress")
            }
        }
    }

    /// How far the workloads of the record have come back. It is noted before a record is, so
    /// where that is noted this is, too.
    ///
    /// # Errors
    /// As the file system answers; or the note cannot be parsed.
    pub fn progress(&self) -> io::Result<Progress> {
        self.read_json("progress")?
            .ok_or_else(|| io::Error::new(ErrorKind::NotFound, "it is gone"))
    }

    /// Notes how far the workloads of the record have come back.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn set_progress(&self, progress: &Progress) -> io::Result<()> {
        self.write("progress", &serde_json::to_vec(progress)?)
    }

    /// The last update, if some of its workloads were late.
    ///
    /// # Errors
    /// As the file system answers; or the note cannot be parsed.
    pub fn late(&self) -> io::Result<Option<Late>> {
        self.read_json("late")
    }

    /// Notes the last update while some of its workloads are late.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn set_late(&self, late: Option<&Late>) -> io::Result<()> {
        match late {
            Some(late) => self.write("late", &serde_json::to_vec(late)?),
            None => self.remove("late"),
        }
    }

    /// The updates that are over, and that the history did not have.
    ///
    /// # Errors
    /// As the file system answers; or the note cannot be parsed.
    pub fn unwritten(&self) -> io::Result<Vec<HistoryEntry>> {
        Ok(self.read_json("unwritten")?.unwrap_or_default())
    }

    /// Notes the updates that are over, and that the history does not have yet. Where there is
    /// no room for all that happened in them, what came of them is noted.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn set_unwritten(&self, mut entries: Vec<HistoryEntry>) -> io::Result<()> {
        if entries.is_empty() {
            return self.remove("unwritten");
        }
        let whole = serde_json::to_vec(&entries)?;
        if whole.len() <= MAX_UNWRITTEN && self.write("unwritten", &whole).is_ok() {
            return Ok(());
        }
        for entry in &mut entries {
            entry.timeline.clear();
        }
        self.write("unwritten", &serde_json::to_vec(&entries)?)
    }

    /// Keeps the damaged note of updates that the history did not have under another name, which
    /// this gives: what is noted from now on would take its place.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn set_unwritten_aside(&self) -> io::Result<PathBuf> {
        let aside = self.folder.join("unwritten.damaged");
        fs::rename(self.folder.join("unwritten"), &aside)?;
        Ok(aside)
    }

    /// All workloads that have sessions in the store. Notes that cannot be parsed are
    /// passed over.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn owners(&self) -> io::Result<Vec<Owner>> {
        let mut owners = Vec::new();
        let entries = match fs::read_dir(self.folder.join("workloads")) {
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(owners),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
                continue;
            };
            match self.read_json(&format!("workloads/{name}")) {
                Ok(owner) => owners.extend(owner),
                Err(why) => tracing::warn!("the note of workload '{name}': {why}"),
            }
        }
        Ok(owners)
    }

    /// Notes a workload that has sessions in the store. Its name has been checked, so that
    /// it can be the name of a file.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn set_owner(&self, owner: &Owner) -> io::Result<()> {
        let name = format!("workloads/{}", owner.workload);
        self.write(&name, &serde_json::to_vec(owner)?)
    }

    /// Removes the note of a workload that has no sessions in the store any more.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn remove_owner(&self, workload: &str) -> io::Result<()> {
        self.remove(&format!("workloads/{workload}"))
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.folder.join(name);
        match regular::read_bytes(&path, MAX_NOTE) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(None),
            Err(why) => Err(of(&path, &why)),
        }
    }

    fn read_json<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let bytes = self.read(name)?;
        let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes);
        Ok(bytes.map(parse).transpose()?)
    }

    /// Replaces a file whole. If there is no room, the reserve makes way for it.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let write = || {
            self.begin()?;
            self.replace(name, bytes)
        };
        match write() {
            Err(why) if is_full(&why) && fs::remove_file(self.folder.join(RESERVE)).is_ok() => {
                write()
            }
            written => written,
        }
    }

    /// Replaces a file whole. The folder is in memory: it survives a crash of the agent,
    /// and need not be synced, for a crash of the machine removes all of it.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = self.folder.join(".new");
        let written = create(&new).and_then(|mut file| file.write_all(bytes));
        let path = self.folder.join(name);
        let rename = || match fs::rename(&new, &path) {
            Err(why) if why.kind() == ErrorKind::IsADirectory => {
                self.remove(name)?;
                fs::rename(&new, &path)
            }
            renamed => renamed,
        };
        let replaced = written.and_then(|()| rename());
        if replaced.is_err() {
            // Half a note holds room that others need.
            let _ = fs::remove_file(&new);
        }
        replaced
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.folder.join(name);
        match fs::remove_file(&path) {
            // Nothing of luod's is a folder there.
            Err(why) if why.kind() == ErrorKind::IsADirectory => fs::remove_dir_all(path),
            Err(why) if why.kind() != ErrorKind::NotFound => Err(why),
            _ => Ok(()),
        }
    }
}

/// Opens a file to be written anew, at once: a FIFO in its place would be waited for.
fn create(path: &Path) -> io::Result<File> {
    let is_none =
        |known: fs::Metadata| known.file_type().is_fifo() || known.file_type().is_socket();
    if fs::symlink_metadata(path).is_ok_and(is_none) {
        fs::remove_file(path)?;
    }
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    options.custom_flags(flags.cast_signed()).open(path)
}

/// An error with the file that it is about.
fn of(path: &Path, why: &io::Error) -> io::Error {
    io::Error::new(why.kind(), format!("{}: {why}", path.display()))
}

/// Whether a word can be the id of an update: letters, digits and dashes.
fn is_id(word: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    word.len() <= MAX_ID && word.bytes().all(is_part)
}

/// Whether a folder is in memory, and goes with the boot.
fn is_in_memory(folder: &Path) -> bool {
    /// As linux/magic.h has them: tmpfs and ramfs.
    const MAGICS: [u64; 2] = [0x0102_1994, 0x8584_58f6];
    let found = rustix::fs::statfs(folder);
    found.is_ok_and(|found| MAGICS.contains(&(found.f_type as u64)))
}

/// Whether two words for a boot are of the same one. A part that could not be read, then or now,
/// says nothing: the notes of this boot must not be lost because a file is hidden for once.
fn is_same_boot(noted: &str, now: &str) -> bool {
    let (Some(one), Some(other)) = (noted.split_once('/'), now.split_once('/')) else {
        return false;
    };
    let pairs = [(one.0, other.0), (one.1, other.1)];
    let known = pairs
        .iter()
        .filter(|(one, other)| !one.is_empty() && !other.is_empty());
    let mut known = known.peekable();
    noted == now || (known.peek().is_some() && known.all(|(one, other)| one == other))
}

/// Which boot this is: the kernel's number of it, and the count of live updates, which
/// tells boots apart where the number does not change.
pub(super) fn epoch() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let boot = read("/proc/sys/kernel/random/boot_id");
    let count = read("/sys/kernel/liveupdate/update_count");
    format!("{}/{}", boot.trim(), count.trim())
}
