// SPDX-License-Identifier: MIT OR Apache-2.0
//! The note of a slot on the disk, and the lock.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use luo_fleetlock::report::Report;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::failure::Failure;

/// What is noted of a slot. Its being there says that the machine has one, or may have one: the
/// answer was lost.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Slot {
    /// When it was asked for: milliseconds since 1970.
    pub asked_ms: u64,
    /// The newest update of the history then.
    pub before: Option<String>,
    /// What came of the update, if that is known without the history.
    pub report: Option<Report>,
    /// Whether the server was told that the update failed.
    pub is_reported: bool,
    /// What stands in the way of giving it back, in words.
    pub trouble: Option<String>,
}

/// Where it is noted.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// Whoever has this is at it, alone.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "its end is that of the lock")] File);

const NOTE: &str = "fleet-slot.json";
const NEW: &str = "fleet-slot.new";
const LOCK: &str = "fleet-slot.lock";

/// Bytes of a note.
const MOST: u64 = 64 * 1024;

/// What there is to say of the machine's slot, if it has one, and whoever asks may know.
#[must_use]
pub fn words(config: &Path) -> Option<String> {
    let config = luod::command::config(config).ok()?;
    config.fleet.as_ref()?;
    let slot = Store::new(&config.state_directory).read().ok()??;
    Some(slot.words())
}

impl Slot {
    /// What there is to say of it.
    #[must_use]
    pub fn words(&self) -> String {
        let trouble = self.trouble.as_deref();
        let trouble = trouble.unwrap_or("it was taken for an update");
        format!("this machine has a slot, or may have one: {trouble}")
    }
}

impl Store {
    /// In luod's folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The failure that a note could not be read or written.
    #[must_use]
    pub fn failure(&self, why: &io::Error) -> Failure {
        let message = format!("{}: the slot cannot be noted: {why}", self.folder.display());
        Failure::new(Exit::CannotCreate, "fleet-note", message)
            .next("it takes root, and room on the disk")
    }

    /// Is at it, if nobody else is.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn lock(&self) -> io::Result<Option<Lock>> {
        let mut options = File::options();
        options.create(true).append(true).mode(0o600);
        let file = options.open(self.folder.join(LOCK))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(why) => Err(why.into()),
        }
    }

    /// The note, if there is one.
    ///
    /// # Errors
    /// It cannot be read. A slot is taken to be there then.
    pub fn read(&self) -> io::Result<Option<Slot>> {
        let path = self.folder.join(NOTE);
        let text = match luod::journal::regular::read(&path, MOST) {
            Ok(text) => text,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(why),
        };
        Ok(Some(serde_json::from_str(&text)?))
    }

    /// Notes a slot. It is on the disk when this returns: a jump writes nothing back.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn write(&self, slot: &Slot) -> io::Result<()> {
        let new = self.folder.join(NEW);
        let mut options = File::options();
        options.create(true).truncate(true).write(true).mode(0o600);
        let mut file = options.open(&new)?;
        file.write_all(&serde_json::to_vec(slot)?)?;
        file.sync_all()?;
        fs::rename(&new, self.folder.join(NOTE))?;
        self.sync()
    }

    /// There is no slot any more.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_file(self.folder.join(NOTE)) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
            _ => self.sync(),
        }
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_there_or_not_and_one_at_a_time_is_at_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        assert_eq!(store.read().unwrap(), None);
        let lock = store.lock().unwrap();
        assert!(lock.is_some() && store.lock().unwrap().is_none());
        drop(lock);
        assert!(store.lock().unwrap().is_some());
        let slot = Slot {
            before: Some("u1".to_owned()),
            ..Slot::default()
        };
        store.write(&slot).unwrap();
        assert_eq!(store.read().unwrap(), Some(slot));
        // One that cannot be read is not one that is not there.
        fs::write(folder.path().join(NOTE), "{").unwrap();
        assert!(store.read().is_err());
        store.remove().unwrap();
        store.remove().unwrap();
        assert_eq!(store.read().unwrap(), None);
    }
}
