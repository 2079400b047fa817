// SPDX-License-Identifier: MIT OR Apache-2.0
//! The folder of the notes, and the files in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::OFlags;
use rustix::process::{Resource, getrlimit};
use serde::de::DeserializeOwned;

use super::boot::{epoch, is_in_memory, is_same_boot};
use crate::journal::regular;

/// Bytes of room for notes alone: some hundred, of a page each.
pub const ROOM: u64 = 1 << 20;

/// The file that holds it.
pub(super) const RESERVE: &str = ".reserve";

/// Bytes of a note that are read: a record is the longest.
const MAX_NOTE: u64 = 128 << 20;

/// A folder of notes.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    epoch: String,
    /// Whether it says which boot its notes are of. None is written before.
    is_told: Arc<AtomicBool>,
}

impl Folder {
    /// The folder at a path, which nobody has looked at.
    pub(super) fn at(path: PathBuf) -> Self {
        Self {
            path,
            epoch: epoch(),
            is_told: Arc::default(),
        }
    }

    /// Opens it. What is of another boot is removed.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let folder = Self::at(path);
        if folder.is_of_this_boot()? {
            // A word for it that is damaged is written anew.
            let is_told = folder.word().is_some();
            folder.is_told.store(is_told, Ordering::Relaxed);
        } else {
            match fs::remove_dir_all(&folder.path) {
                Err(why) if why.kind() != ErrorKind::NotFound => return Err(why),
                _ => {}
            }
        }
        match folder.reserve() {
            Err(why) if is_full(&why) => tracing::error!(
                "there is no room for notes, and what needs one is refused: {} KiB are needed in \
                 {}: {why}",
                ROOM >> 10,
                folder.path.display()
            ),
            reserved => reserved.map_err(|why| of(&folder.path, &why))?,
        }
        Ok(folder)
    }

    /// Whether what stands in the folder is of this boot. What is in memory can be of no other, so
    /// nothing is lost there because the word for it is damaged.
    pub(super) fn is_of_this_boot(&self) -> io::Result<bool> {
        if let Some(noted) = self.word() {
            return Ok(is_same_boot(&noted, &self.epoch));
        }
        let is_there = fs::exists(self.path.join("workloads"))?;
        let is_kept = is_there && is_in_memory(&self.path);
        if is_kept {
            tracing::error!(
                "{} does not say any more which boot it is of; it is in memory, so it is of this one",
                self.path.display()
            );
        }
        Ok(is_kept)
    }

    /// The word for which boot the notes are of; `None` if it is not there, or is damaged.
    pub(super) fn word(&self) -> Option<String> {
        let noted = self.read("epoch").unwrap_or_else(|why| {
            tracing::error!("which boot the notes are of: {why}");
            None
        });
        let noted = String::from_utf8(noted.unwrap_or_default()).ok();
        noted.filter(|noted| noted.contains('/'))
    }

    /// Has room for notes to come, whoever fills the folder's file system meanwhile.
    pub(super) fn reserve(&self) -> io::Result<()> {
        self.begin()?;
        let path = self.path.join(RESERVE);
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
        fs::create_dir_all(self.path.join("workloads"))?;
        if !self.is_told.load(Ordering::Relaxed) {
            self.replace("epoch", self.epoch.as_bytes())?;
            self.is_told.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(super) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        match regular::read_bytes(&path, MAX_NOTE) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(None),
            Err(why) => Err(of(&path, &why)),
        }
    }

    pub(super) fn read_json<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let bytes = self.read(name)?;
        let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes);
        Ok(bytes.map(parse).transpose()?)
    }

    /// Replaces a file whole. If there is no room, the reserve makes way for it.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let write = || {
            self.begin()?;
            self.replace(name, bytes)
        };
        match write() {
            Err(why) if is_full(&why) && fs::remove_file(self.path.join(RESERVE)).is_ok() => {
                write()
            }
            written => written,
        }
    }

    /// Replaces a file whole. The folder is in memory: it survives a crash of the agent,
    /// and need not be synced, for a crash of the machine removes all of it.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = self.path.join(".new");
        let written = create(&new).and_then(|mut file| file.write_all(bytes));
        let path = self.path.join(name);
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

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            // Nothing of luod's is a folder there.
            Err(why) if why.kind() == ErrorKind::IsADirectory => fs::remove_dir_all(path),
            Err(why) if why.kind() != ErrorKind::NotFound => Err(why),
            _ => Ok(()),
        }
    }
}

/// Whether an error says that there is no room.
pub(super) fn is_full(why: &io::Error) -> bool {
    matches!(
        why.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
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
