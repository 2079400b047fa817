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
//! state/workloads/NAME      a workload that has sessions in the descriptor store
//! ```
//!
//! Another boot's notes are of no use and are removed. Each file is replaced whole.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use luo_varlink::Identity;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::decide::record::Moment;

/// The notes of one boot.
#[derive(Clone, Debug)]
pub struct Notes {
    folder: PathBuf,
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
}

impl Notes {
    /// Opens the notes of this boot in the folder of the sockets.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn open(runtime: &Path) -> io::Result<Self> {
        let notes = Self {
            folder: runtime.join("state"),
        };
        let epoch = epoch();
        if notes.read("epoch")?.as_deref() != Some(epoch.as_bytes()) {
            match fs::remove_dir_all(&notes.folder) {
                Err(why) if why.kind() != ErrorKind::NotFound => return Err(why),
                _ => {}
            }
        }
        fs::create_dir_all(notes.folder.join("workloads"))?;
        notes.write("epoch", epoch.as_bytes())?;
        Ok(notes)
    }

    /// The update that was under way.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn update(&self) -> io::Result<Option<Begun>> {
        let Some(bytes) = self.read("update")? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines();
        let mut words = lines.next().unwrap_or_default().split_whitespace();
        let id = words.next().unwrap_or_default().to_owned();
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
        Ok(self.read("jumping")?.is_some())
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

    /// Notes the record that was handed over.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn set_record(&self, record: Option<&[u8]>) -> io::Result<()> {
        match record {
            Some(record) => self.write("record", record),
            None => {
                self.remove("progress")?;
                self.remove("record")
            }
        }
    }

    /// How far the workloads of the record have come back.
    ///
    /// # Errors
    /// As the file system answers; or the note cannot be parsed.
    pub fn progress(&self) -> io::Result<Progress> {
        Ok(self.read_json("progress")?.unwrap_or_default())
    }

    /// Notes how far the workloads of the record have come back.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn set_progress(&self, progress: &Progress) -> io::Result<()> {
        self.write("progress", &serde_json::to_vec(progress)?)
    }

    /// All workloads that have sessions in the store. Notes that cannot be parsed are
    /// passed over.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn owners(&self) -> io::Result<Vec<Owner>> {
        let mut owners = Vec::new();
        for entry in fs::read_dir(self.folder.join("workloads"))? {
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
        match fs::read(self.folder.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(None),
            Err(why) => Err(why),
        }
    }

    fn read_json<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let bytes = self.read(name)?;
        let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes);
        Ok(bytes.map(parse).transpose()?)
    }

    /// Replaces a file whole. The folder is in memory: it survives a crash of the agent,
    /// and need not be synced, for a crash of the machine removes all of it.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = self.folder.join(".new");
        fs::write(&new, bytes)?;
        fs::rename(new, self.folder.join(name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.folder.join(name)) {
            Err(why) if why.kind() != ErrorKind::NotFound => Err(why),
            _ => Ok(()),
        }
    }
}

/// Which boot this is: the kernel's number of it, and the count of live updates, which
/// tells boots apart where the number does not change.
fn epoch() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let boot = read("/proc/sys/kernel/random/boot_id");
    let count = read("/sys/kernel/liveupdate/update_count");
    format!("{}/{}", boot.trim(), count.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_of_one_boot() {
        let runtime = std::env::temp_dir().join(format!("luod-notes-{}", std::process::id()));
        fs::create_dir_all(&runtime).unwrap();
        let notes = Notes::open(&runtime).unwrap();
        let owner = Owner {
            workload: "cache".into(),
            identity: Identity {
                uid: 1,
                gid: 2,
                unit: None,
            },
            needs: vec![],
            sessions: vec!["cache".into()],
            incoming: vec![],
            left: true,
            parked: vec![],
        };
        notes.set_owner(&owner).unwrap();
        let begun = Begun {
            id: "u-1".into(),
            began_us: Some(7),
            report: Some("/var/lib/luod/a picture.svg".into()),
        };
        notes.set_update(Some(&begun)).unwrap();
        notes.set_record(Some(b"bytes")).unwrap();
        assert!(!notes.is_jumping().unwrap());
        notes.set_jumping().unwrap();
        assert!(notes.is_jumping().unwrap());
        notes.set_update(None).unwrap();
        assert!(!notes.is_jumping().unwrap());
        fs::write(runtime.join("state/update"), "u-0").unwrap();
        let of_old = notes.update().unwrap().unwrap();
        assert_eq!((of_old.id.as_str(), of_old.began_us), ("u-0", None));
        notes.set_update(Some(&begun)).unwrap();
        fs::write(runtime.join("state/workloads/junk"), "{").unwrap();

        let again = Notes::open(&runtime).unwrap();
        assert_eq!(again.owners().unwrap(), [owner]);
        assert_eq!(again.update().unwrap(), Some(begun));
        assert_eq!(again.record().unwrap().as_deref(), Some(&b"bytes"[..]));
        assert_eq!(again.progress().unwrap(), Progress::default());

        fs::write(runtime.join("state/epoch"), "another").unwrap();
        let other = Notes::open(&runtime).unwrap();
        assert!(other.owners().unwrap().is_empty());
        assert_eq!(other.update().unwrap(), None);
        assert_eq!(other.record().unwrap(), None);
        fs::remove_dir_all(&runtime).unwrap();
    }
}
