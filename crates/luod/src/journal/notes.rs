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

mod boot;
mod contents;
mod folder;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use luo_varlink::HistoryEntry;

pub(super) use self::boot::epoch;
pub use self::contents::{Begun, Late, Owner, Progress};
use self::folder::Folder;
pub use self::folder::ROOM;
use super::clock::Clock;

/// Bytes of updates that are noted with all that happened in them.
const MAX_UNWRITTEN: usize = 4 << 20;

/// The note that the kernel has yet to undo an update that is over.
const UNDOING: &str = "undoing";

/// The note of who has come back, while it and the record are removed.
const OVER: &str = "progress.over";

/// The notes of one boot.
#[derive(Clone, Debug)]
pub struct Notes {
    folder: Folder,
}

impl Notes {
    /// Opens the notes of this boot in the folder of the sockets. If there is no room for
    /// them, that is said, and each note is tried again when it is due.
    ///
    /// # Errors
    /// The folder cannot be read, or cannot be written to for another reason.
    pub fn open(runtime: &Path) -> io::Result<Self> {
        Ok(Self {
            folder: Folder::open(runtime.join("state"))?,
        })
    }

    /// The updates that an agent of this boot could not write down, for whoever looks while none
    /// runs.
    ///
    /// # Errors
    /// As the file system answers; or the note cannot be parsed.
    pub fn left_behind(runtime: &Path) -> io::Result<Vec<HistoryEntry>> {
        let folder = Folder::at(runtime.join("state"));
        match folder.is_of_this_boot()? {
            true => Self { folder }.unwritten(),
            false => Ok(Vec::new()),
        }
    }

    /// Has room for notes to come, whoever fills the folder's file system meanwhile.
    ///
    /// # Errors
    /// There is no room.
    pub fn reserve(&self) -> io::Result<()> {
        self.folder.reserve()
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// The update that was under way.
    ///
    /// # Errors
    /// As the file system answers; `InvalidData`: the note is damaged.
    pub fn update(&self) -> io::Result<Option<Begun>> {
        let Some(bytes) = self.folder.read("update")? else {
            return Ok(None);
        };
        Begun::parse(&bytes).map(Some)
    }

    /// Notes the update that is under way.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn set_update(&self, update: Option<&Begun>) -> io::Result<()> {
        match update {
            Some(begun) => self.folder.write("update", begun.text().as_bytes()),
            None => {
                self.folder.remove("jumping")?;
                self.folder.remove("update")
            }
        }
    }

    /// Notes whether the kernel has yet to undo what it was asked for in an update that is over.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn set_undoing(&self, is_undoing: bool) -> io::Result<()> {
        match is_undoing {
            true => self.folder.write(UNDOING, b""),
            false => self.folder.remove(UNDOING),
        }
    }

    /// Whether it has.
    #[must_use]
    pub fn is_undoing(&self) -> bool {
        // Nothing stands in it.
        fs::symlink_metadata(self.folder().join(UNDOING)).is_ok()
    }

    /// Whether the service manager has been told to jump.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn is_jumping(&self) -> io::Result<bool> {
        // Nothing stands in it.
        match fs::symlink_metadata(self.folder().join("jumping")) {
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
        self.folder.write("jumping", b"")
    }

    /// The record that was handed over.
    ///
    /// # Errors
    /// As the file system answers; `NotFound`: there was one, for it is noted how far the
    /// workloads in it have come back, and it is gone.
    pub fn record(&self) -> io::Result<Option<Vec<u8>>> {
        if fs::exists(self.folder().join(OVER))? {
            self.remove_record()?;
            return Ok(None);
        }
        match self.folder.read("record")? {
            None if fs::exists(self.folder().join("progress"))? => {
                let words = "it is gone, and that of who has come back is there";
                Err(io::Error::new(ErrorKind::NotFound, words))
            }
            read => Ok(read),
        }
    }

    /// Notes the record that was handed over, and that nobody has come back if nothing is known
    /// of that.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn begin_record(&self, record: &[u8]) -> io::Result<()> {
        if !fs::exists(self.folder().join("progress"))? {
            self.set_progress(&Progress {
                clock: Some(Clock::start()),
                ..Progress::default()
            })?;
        }
        self.set_record(Some(record))
    }

    /// Notes the record that was handed over.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn set_record(&self, record: Option<&[u8]>) -> io::Result<()> {
        match record {
            Some(record) => self.folder.write("record", record),
            None => self.remove_record(),
        }
    }

    /// Each of the two notes without the other one says that the other one is lost. So one gets
    /// another name before, which an agent finds that is started anew in the midst of this.
    fn remove_record(&self) -> io::Result<()> {
        let over = self.folder().join(OVER);
        match fs::rename(self.folder().join("progress"), over) {
            Err(why) if why.kind() != ErrorKind::NotFound => return Err(why),
            _ => {}
        }
        self.folder.remove("record")?;
        self.folder.remove(OVER)
    }

    /// How far the workloads of the record have come back. It is noted before a record is, so
    /// where that is noted this is, too.
    ///
    /// # Errors
    /// As the file system answers; or the note cannot be parsed.
    pub fn progress(&self) -> io::Result<Progress> {
        self.folder
            .read_json("progress")?
            .ok_or_else(|| io::Error::new(ErrorKind::NotFound, "it is gone"))
    }

    /// Notes how far the workloads of the record have come back.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn set_progress(&self, progress: &Progress) -> io::Result<()> {
        self.folder
            .write("progress", &serde_json::to_vec(progress)?)
    }

    /// The last update, if some of its workloads were late.
    ///
    /// # Errors
    /// As the file system answers; or the note cannot be parsed.
    pub fn late(&self) -> io::Result<Option<Late>> {
        self.folder.read_json("late")
    }

    /// Notes the last update while some of its workloads are late.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn set_late(&self, late: Option<&Late>) -> io::Result<()> {
        match late {
            Some(late) => self.folder.write("late", &serde_json::to_vec(late)?),
            None => self.folder.remove("late"),
        }
    }

    /// The updates that are over, and that the history did not have.
    ///
    /// # Errors
    /// As the file system answers; or the note cannot be parsed.
    pub fn unwritten(&self) -> io::Result<Vec<HistoryEntry>> {
        Ok(self.folder.read_json("unwritten")?.unwrap_or_default())
    }

    /// Notes the updates that are over, and that the history does not have yet. Where there is
    /// no room for all that happened in them, what came of them is noted.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn set_unwritten(&self, mut entries: Vec<HistoryEntry>) -> io::Result<()> {
        if entries.is_empty() {
            return self.folder.remove("unwritten");
        }
        let whole = serde_json::to_vec(&entries)?;
        if whole.len() <= MAX_UNWRITTEN && self.folder.write("unwritten", &whole).is_ok() {
            return Ok(());
        }
        for entry in &mut entries {
            entry.timeline.clear();
        }
        self.folder
            .write("unwritten", &serde_json::to_vec(&entries)?)
    }

    /// Keeps the damaged note of updates that the history did not have under another name, which
    /// this gives: what is noted from now on would take its place.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn set_unwritten_aside(&self) -> io::Result<PathBuf> {
        let aside = self.folder().join("unwritten.damaged");
        fs::rename(self.folder().join("unwritten"), &aside)?;
        Ok(aside)
    }

    /// All workloads that have sessions in the store. Notes that cannot be parsed are
    /// passed over.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn owners(&self) -> io::Result<Vec<Owner>> {
        let mut owners = Vec::new();
        let entries = match fs::read_dir(self.folder().join("workloads")) {
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(owners),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
                continue;
            };
            match self.folder.read_json(&format!("workloads/{name}")) {
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
        self.folder.write(&name, &serde_json::to_vec(owner)?)
    }

    /// Removes the note of a workload that has no sessions in the store any more.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn remove_owner(&self, workload: &str) -> io::Result<()> {
        self.folder.remove(&format!("workloads/{workload}"))
    }
}
