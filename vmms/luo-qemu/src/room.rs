// SPDX-License-Identifier: MIT OR Apache-2.0
//! The folder of a guest in this boot, by which a luo-qemu that is started again finds the QEMU
//! that runs.
//!
//! | file | contents |
//! |---|---|
//! | `luo-qemu.lock` | locked by the luo-qemu that runs the guest; its process number |
//! | `qemu.lock` | locked by QEMU, which inherits the descriptor, for as long as it lives |
//! | `qmp` | QEMU's control socket |
//! | `guest.json` | how QEMU was started, and which of its descriptors is the RAM |
//! | `stopped` | is there while the guest stands still for an update |
//!
//! Beside the folders of all guests lies `tsc_khz`, the frequency of their TSC, which luod hands on to the
//! next kernel.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::about::About;
use crate::exit::Error;

/// The variable that names the folder of all guests.
pub const VARIABLE: &str = "LUO_QEMU_RUNTIME_DIRECTORY";

/// The most bytes of a socket's path.
const MAX_PATH: usize = 107;

/// The descriptor of RAM that QEMU has not opened yet.
pub const NOWHERE: i32 = -1;

/// The folder of a guest, whose luo-qemu this process is.
#[derive(Debug)]
pub struct Room {
    folder: PathBuf,
    /// Locked while this process lives.
    _own: File,
}

/// How QEMU comes to its RAM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It has inherited it, as this descriptor.
    Inherits(i32),
    /// It opens this path, once somebody has connected to its control socket; it waits for that.
    Opens(String),
}

/// What is noted about a QEMU before it is started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The guest.
    pub about: About,
    /// The descriptor in QEMU that is the RAM; [`NOWHERE`] as long as it has not opened it.
    pub ram: i32,
    /// How QEMU has come to it. A luo-qemu of before has not noted it.
    #[serde(default)]
    pub way: Option<Way>,
    /// Devices that the administrator's arguments have made, by their paths. They are known
    /// once QEMU runs.
    pub devices: Vec<String>,
    /// What the workload says of itself, once there is something: after an update how long the guest
    /// stood still, which nobody could say later. A luo-qemu of before has not noted it.
    #[serde(default)]
    pub words: Option<String>,
}

impl Record {
    /// What the workload says of itself.
    #[must_use]
    pub fn words(&self) -> String {
        self.words.clone().unwrap_or_else(|| self.about.words())
    }

    /// How QEMU has come to its RAM.
    #[must_use]
    pub fn way(&self) -> Way {
        self.way.clone().unwrap_or(Way::Inherits(self.ram))
    }
}

/// The folder of all guests of this user.
fn all() -> PathBuf {
    if let Some(folder) = std::env::var_os(VARIABLE) {
        return folder.into();
    }
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|_| !rustix::process::getuid().is_root());
    own.map_or_else(|| "/run".into(), PathBuf::from)
        .join("luo-qemu")
}

impl Room {
    /// Opens the folder of a guest, and locks it.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::System`].
    pub fn open(name: &str) -> Result<Self, Error> {
        Self::open_in(&all(), name)
    }

    /// The same, in a folder of somebody's choice.
    ///
    /// # Errors
    /// As [`Room::open`].
    pub fn open_in(all: &Path, name: &str) -> Result<Self, Error> {
        let folder = all.join(name);
        let what = || folder.display().to_string();
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&folder);
        made.map_err(Error::system(what()))?;
        if folder.join("qmp").as_os_str().len() > MAX_PATH {
            let source = io::ErrorKind::InvalidFilename.into();
            let what = format!("{}: too long for a socket", what());
            return Err(Error::System { what, source });
        }
        let path = folder.join("luo-qemu.lock");
        let Some(mut own) = lock(&path).map_err(Error::system(what()))? else {
            let pid = fs::read_to_string(&path).unwrap_or_default();
            return Err(Error::Busy(pid.trim().to_owned()));
        };
        let number = own
            .set_len(0)
            .and_then(|()| writeln!(own, "{}", std::process::id()));
        number.map_err(Error::system(what()))?;
        Ok(Self { folder, _own: own })
    }

    /// The path of QEMU's control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("qmp")
    }

    /// The lock that a QEMU inherits, if none has it; then none lives.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn vacant(&self) -> Result<Option<File>, Error> {
        let path = self.folder.join("qemu.lock");
        lock(&path).map_err(Error::system(path.display().to_string()))
    }

    /// Notes how QEMU is started. It is there whole, or as it was before.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn note(&self, record: &Record) -> Result<(), Error> {
        let path = self.folder.join("guest.json");
        let next = self.folder.join("guest.json.next");
        let text = serde_json::json!(record).to_string();
        let written = fs::write(&next, text).and_then(|()| fs::rename(&next, &path));
        written.map_err(Error::system(path.display().to_string()))
    }

    /// How QEMU was started.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn noted(&self) -> Result<Record, Error> {
        let path = self.folder.join("guest.json");
        let text = fs::read(&path);
        let record = text.and_then(|text| Ok(serde_json::from_slice(&text)?));
        record.map_err(Error::system(path.display().to_string()))
    }

    /// Notes the frequency of the guest's TSC in kHz, for luod. Where guests of this machine have several
    /// it is that of one which came over a jump: the others began with what KVM has here.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn note_clock(&self, khz: u64, came_over: bool) -> Result<(), Error> {
        let path = self.folder.with_file_name("tsc_khz");
        if !came_over && path.exists() {
            return Ok(());
        }
        let next = self.folder.join("tsc_khz.next");
        let written = fs::write(&next, format!("{khz}\n")).and_then(|()| fs::rename(&next, &path));
        written.map_err(Error::system(path.display().to_string()))
    }

    /// Notes that the guest stands still for an update, or does no longer.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn set_stopped(&self, is_stopped: bool) -> Result<(), Error> {
        let path = self.folder.join("stopped");
        let done = if is_stopped {
            File::create(&path).map(drop)
        } else {
            match fs::remove_file(&path) {
                Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
                done => done,
            }
        };
        done.map_err(Error::system(path.display().to_string()))
    }

    /// Whether the guest was stopped for an update, and nobody has let it go on.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.folder.join("stopped").exists()
    }

    /// Removes what tells of a QEMU that has ended.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn clear(&self) -> Result<(), Error> {
        self.set_stopped(false)?;
        match fs::remove_file(self.socket()) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => {
                Err(Error::system(self.socket().display().to_string())(why))
            }
            _ => Ok(()),
        }
    }
}

/// Locks a file, unless somebody has it locked.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    let file = options.open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(why) => Err(why.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_guest_that_came_over_a_jump_is_what_is_noted() {
        let all = tempfile::tempdir().unwrap();
        let room = Room::open_in(all.path(), "a").unwrap();
        let noted = || fs::read_to_string(all.path().join("tsc_khz")).unwrap();
        for (khz, came_over, text) in [
            (2_400_000, false, "2400000\n"),
            (2_400_001, false, "2400000\n"),
            (2_400_002, true, "2400002\n"),
            (2_400_003, false, "2400002\n"),
        ] {
            room.note_clock(khz, came_over).unwrap();
            assert_eq!(noted(), text);
        }
    }

    #[test]
    fn a_guest_has_one_luo_qemu_and_one_qemu() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::open_in(folder.path(), "vm").unwrap();
        let second = Room::open_in(folder.path(), "vm").unwrap_err();
        let own = std::process::id().to_string();
        assert!(
            matches!(&second, Error::Busy(pid) if *pid == own),
            "{second}"
        );
        Room::open_in(folder.path(), "other").unwrap();

        let lock = room.vacant().unwrap().unwrap();
        // As a QEMU has it: another descriptor of the same open file.
        let inherited = rustix::io::dup(&lock).unwrap();
        drop(lock);
        assert!(room.vacant().unwrap().is_none());
        drop(inherited);
        assert!(room.vacant().unwrap().is_some());
    }

    #[test]
    fn too_long_a_path_for_a_socket_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let why = Room::open_in(folder.path(), &"x".repeat(120)).unwrap_err();
        assert!(why.to_string().contains("too long for a socket"), "{why}");
    }

    /// It is in the history of an update, and `luoctl inspect` goes on saying it.
    #[test]
    fn who_takes_a_guest_over_says_of_it_what_was_said_before() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::open_in(folder.path(), "vm").unwrap();
        let text = r#"{"about": {"version": 1, "program": "/q", "qemu": "10.0.2", "machine": "pc",
            "memory": 268435456, "folder": "/", "arguments": [], "kept": null, "tsc_khz": null},
            "ram": 7, "devices": []}"#;
        let old: Record = serde_json::from_str(text).unwrap();
        assert_eq!(old.words(), "256 MiB of RAM, QEMU 10.0.2");
        assert_eq!(old.way(), Way::Inherits(7));
        let words = "256 MiB of RAM mapped, stood still for 1.2 s".to_owned();
        room.note(&Record {
            words: Some(words.clone()),
            ..old
        })
        .unwrap();
        assert_eq!(room.noted().unwrap().words(), words);
    }

    #[test]
    fn what_was_noted_is_there_until_it_is_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::open_in(folder.path(), "vm").unwrap();
        assert!(room.noted().is_err() && !room.is_stopped());
        room.set_stopped(true).unwrap();
        assert!(room.is_stopped());
        room.clear().unwrap();
        assert!(!room.is_stopped());
    }
}
