// SPDX-License-Identifier: MIT OR Apache-2.0
//! A QEMU that runs a guest: looked at, stopped and let go on, until it ends.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};

use crate::about::About;
use crate::blocks;
use crate::disks::{self, Found};
use crate::exit::{self, Error};
use crate::launch::{self, Part, Source};
use crate::qmp::{self, Event, Qmp};
use crate::room::{Record, Room};
use crate::taps;

/// How long QEMU may take for a word that waits for nothing.
pub const ANSWER: Duration = Duration::from_secs(20);

/// How long QEMU may take to start. Cold, on a busy machine, it takes seconds.
pub const START: Duration = Duration::from_secs(90);

/// A QEMU with a guest.
#[derive(Debug)]
pub struct Guest {
    qmp: Qmp,
    process: Pid,
    /// Readable once QEMU has ended.
    pidfd: OwnedFd,
    /// QEMU is a child of this process, unless it was taken over.
    child: Option<Child>,
    /// Devices that the administrator's arguments have made.
    devices: Vec<String>,
    /// QEMU has closed its control socket.
    is_deaf: bool,
    has_panicked: bool,
    /// QEMU has told that the guest goes on, after it stood still. It does so before the guest's
    /// processors run.
    has_gone_on: bool,
    /// The reason of QEMU's shutdown, in its word.
    shutdown: Option<String>,
}

/// How QEMU has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code that this program ends with.
    pub code: u8,
    /// The reason, in words.
    pub reason: String,
}

/// An end of time that is `time` from now.
#[must_use]
pub fn within(time: Duration) -> Instant {
    Instant::now() + time
}

impl Guest {
    /// Starts QEMU by these words, which has nothing to resume or waits for what it resumes.
    ///
    /// # Errors
    /// [`Error::System`], [`Error::Ended`], [`Error::Qmp`].
    pub fn start(
        about: &About,
        words: &[PathBuf],
        room: &Room,
        ram: &File,
        lock: File,
        resumes: bool,
    ) -> Result<Self, Error> {
        let child = launch::start(about, words, room, Source::Here(ram), lock, resumes)?;
        let mut guest = Self::greet(child, room)?;
        guest.devices = guest.peripherals()?;
        room.note(&Record {
            devices: guest.devices.clone(),
            ..room.noted()?
        })?;
        Ok(guest)
    }

    /// A QEMU that was started, as soon as it answers. If it does not, it is ended.
    ///
    /// # Errors
    /// [`Error::Ended`], [`Error::Qmp`].
    pub fn greet(mut child: Child, room: &Room) -> Result<Self, Error> {
        let mut status = None;
        let is_alive = || {
            status = child.try_wait().ok().flatten();
            status.is_none()
        };
        let qmp = Qmp::connect(&room.socket(), within(START), is_alive);
        if let Some(status) = status {
            return Err(Error::Ended(format!(
                "it did not start: {}",
                describe(status)
            )));
        }
        match qmp {
            Ok(qmp) => {
                let process = Pid::from_child(&child);
                Self::new(qmp, process, Some(child), Vec::new())
            }
            Err(why) => {
                // It does not do what it is for, and nothing has run in it.
                let _ = child.kill();
                let _ = child.wait();
                Err(why.into())
            }
        }
    }

    /// Notes which of its descriptors is the RAM, and its devices, of a QEMU that has opened its
    /// RAM by itself.
    ///
    /// # Errors
    /// [`Error::Qmp`], [`Error::System`]; it has other RAM.
    pub fn note(&mut self, room: &Room, ram: &File) -> Result<(), Error> {
        let folder = format!("/proc/{}/fd", self.process());
        let found = descriptor(Path::new(&folder), ram).map_err(Error::system(folder))?;
        let other = || Error::Ended("not yet, but it has not opened its RAM".into());
        self.devices = self.peripherals()?;
        room.note(&Record {
            ram: found.ok_or_else(other)?,
            devices: self.devices.clone(),
            ..room.noted()?
        })
    }

    /// Takes over a QEMU that an earlier luo-qemu of this boot has started; gives its RAM, too.
    ///
    /// # Errors
    /// [`Error::System`], [`Error::Qmp`].
    pub fn find(room: &Room) -> Result<(Self, Record, File), Error> {
        let record = room.noted()?;
        let is_alive = || matches!(room.vacant(), Ok(None));
        let qmp = Qmp::connect(&room.socket(), within(START), is_alive)?;
        let failed = || Error::system("the QEMU that runs");
        let peer = rustix::net::sockopt::socket_peercred(&qmp);
        let process = peer.map_err(|why| failed()(why.into()))?.pid;
        let path = format!("/proc/{}/fd/{}", process.as_raw_nonzero(), record.ram);
        let ram = OpenOptions::new().read(true).write(true).open(&path);
        let ram = ram.map_err(Error::system(path))?;
        let mut guest = Self::new(qmp, process, None, record.devices.clone())?;
        if record.devices.is_empty() {
            guest.devices = guest.peripherals()?;
        }
        Ok((guest, record, ram))
    }

    fn new(
        qmp: Qmp,
        process: Pid,
        child: Option<Child>,
        devices: Vec<String>,
    ) -> Result<Self, Error> {
        let pidfd = pidfd_open(process, PidfdFlags::empty());
        Ok(Self {
            qmp,
            process,
            pidfd: pidfd.map_err(|why| Error::system("pidfd_open")(why.into()))?,
            child,
            devices,
            is_deaf: false,
            has_panicked: false,
            has_gone_on: false,
            shutdown: None,
        })
    }

    /// Its control socket.
    pub const fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// QEMU's version.
    #[must_use]
    pub fn version(&self) -> &str {
        self.qmp.version()
    }

    /// QEMU's process.
    #[must_use]
    pub fn process(&self) -> i32 {
        self.process.as_raw_nonzero().get()
    }

    /// What to wait for: that QEMU says something, and that it ends.
    #[must_use]
    pub fn descriptors(&self) -> (Option<BorrowedFd<'_>>, BorrowedFd<'_>) {
        let qmp = (!self.is_deaf).then(|| self.qmp.as_fd());
        (qmp, self.pidfd.as_fd())
    }

    fn ask(&mut self, command: &str) -> Result<Value, qmp::Error> {
        self.qmp.call(command, json!({}), within(ANSWER))
    }

    /// The guest's state, in QEMU's word: `running`, `paused`, `postmigrate`, ...
    ///
    /// # Errors
    /// [`qmp::Error`].
    pub fn status(&mut self, end: Instant) -> Result<String, qmp::Error> {
        let status = self.qmp.call("query-status", json!({}), end)?;
        let word = status.get("status").and_then(Value::as_str);
        Ok(word.unwrap_or("unknown").to_owned())
    }

    /// The frequency of the processors' TSC in kHz, where KVM runs them. While QEMU waits for a
    /// state it is KVM's own.
    pub fn tsc_khz(&mut self) -> Option<u64> {
        let processors = self.ask("query-cpus-fast").ok()?;
        let path = processors.get(0)?.get("qom-path")?.as_str()?;
        let arguments = json!({"path": path, "property": "tsc-frequency"});
        let hertz = self.qmp.call("qom-get", arguments, within(ANSWER)).ok()?;
        hertz
            .as_u64()
            .map(|hertz| hertz / 1000)
            .filter(|&khz| khz > 0)
    }

    /// Bytes of memory that the guest's devices have: of firmware, of ROMs, of a graphics card. QEMU
    /// writes them with the devices' state.
    ///
    /// # Errors
    /// [`qmp::Error`]. An older QEMU does not tell.
    pub fn memory_of_devices(&mut self, about: &About) -> Result<u64, qmp::Error> {
        let blocks = self.ask("x-query-ramblock")?;
        let text = blocks.get("human-readable-text").and_then(Value::as_str);
        let parts = launch::parts(about);
        let is_ram = |name: &str| parts.iter().any(|part| part.id == name);
        Ok(blocks::beside(text.unwrap_or_default(), is_ram))
    }

    /// Lets the guest go on, and waits until it does.
    ///
    /// # Errors
    /// [`qmp::Error`].
    pub fn go_on(&mut self) -> Result<(), qmp::Error> {
        self.ask("cont").map(drop)
    }

    /// Asks the guest to shut down.
    ///
    /// # Errors
    /// [`qmp::Error`].
    pub fn power_down(&mut self) -> Result<(), qmp::Error> {
        self.ask("system_powerdown").map(drop)
    }

    /// Tells QEMU to end.
    ///
    /// # Errors
    /// [`qmp::Error`].
    pub fn quit(&mut self) -> Result<(), qmp::Error> {
        self.ask("quit").map(drop)
    }

    /// Why the guest cannot go through an update as it stands, each with what to do about it; and
    /// what may go wrong after it.
    ///
    /// # Errors
    /// [`qmp::Error`].
    pub fn look(&mut self, about: &About) -> Result<Found, qmp::Error> {
        let memory = about.memory;
        let mut obstacles = Vec::new();
        let status = self.status(within(ANSWER))?;
        if !["running", "paused", "postmigrate", "suspended"].contains(&&*status) {
            obstacles.push(format!(
                "the guest is in the state '{status}': let it run, or end it"
            ));
        }
        let migration = self.ask("query-migrate")?;
        let reasons = migration.get("blocked-reasons").and_then(Value::as_array);
        for reason in reasons.into_iter().flatten().filter_map(Value::as_str) {
            obstacles.push(format!(
                "QEMU says: {reason}; take it out of the guest, or give the guest a virtio device"
            ));
        }
        let parts = launch::parts(about);
        let backends = self.ask("query-memdev")?;
        for backend in backends.as_array().into_iter().flatten() {
            obstacles.extend(foreign(backend, &parts));
        }
        let summary = self.ask("query-memory-size-summary")?;
        let of = |key: &str| summary.get(key).and_then(Value::as_u64);
        let plugged = of("plugged-memory").unwrap_or_default();
        if of("base-memory") != Some(memory) || plugged != 0 {
            obstacles.push(
                "the guest has other RAM than luo-qemu has made: unplug it, or it would be lost"
                    .into(),
            );
        }
        obstacles.extend(self.changed_devices()?);
        let nodes = self.ask("query-named-block-nodes")?;
        let disks = disks::look(&disks::Look {
            nodes: &nodes,
            folder: &about.folder,
            process: self.process(),
            arguments: &about.arguments,
            in_memory: about.disks_in_memory,
        });
        let process = self.process();
        let taps = taps::look(&about.arguments, &about.folder, process, Path::new("/"));
        obstacles.extend(disks.obstacles.into_iter().chain(taps.obstacles));
        let warnings = disks.warnings.into_iter().chain(taps.warnings).collect();
        Ok(Found {
            obstacles,
            warnings,
        })
    }

    fn changed_devices(&mut self) -> Result<Vec<String>, qmp::Error> {
        let now = self.peripherals()?;
        let before = &self.devices;
        let added = now.iter().filter(|device| !before.contains(device));
        let added = added.map(|device| {
            format!(
                "the device {device} was plugged in while the guest ran, and a QEMU that is started \
                 again would not have it: unplug it (device_del), and put it on the command line"
            )
        });
        let gone = before.iter().filter(|device| !now.contains(device));
        let gone = gone.map(|device| {
            format!(
                "the device {device} was unplugged while the guest ran, and a QEMU that is started \
                 again would have it: plug it in again (device_add)"
            )
        });
        Ok(added.chain(gone).collect())
    }

    /// The devices that can be plugged: those with a name of the administrator's, and those
    /// without.
    fn peripherals(&mut self) -> Result<Vec<String>, qmp::Error> {
        let mut devices = Vec::new();
        for folder in ["/machine/peripheral", "/machine/peripheral-anon"] {
            let arguments = json!({"path": folder});
            let list = self.qmp.call("qom-list", arguments, within(ANSWER))?;
            for entry in list.as_array().into_iter().flatten() {
                let text = |key| entry.get(key).and_then(Value::as_str).unwrap_or_default();
                if text("type").starts_with("child<") {
                    devices.push(format!("{folder}/{}", text("name")));
                }
            }
        }
        devices.sort();
        Ok(devices)
    }

    /// What QEMU has told since it was asked last, in words for the log.
    pub fn news(&mut self) -> Vec<String> {
        let mut news = Vec::new();
        while !self.is_deaf {
            match self.qmp.event() {
                Ok(Some(event)) => news.extend(self.hear(&event)),
                Ok(None) => break,
                Err(why) => {
                    self.is_deaf = true;
                    if !matches!(why, qmp::Error::Gone) {
                        news.push(format!("QEMU: {why}"));
                    }
                }
            }
        }
        news
    }

    fn hear(&mut self, event: &Event) -> Option<String> {
        let text = |key| event.data.get(key).and_then(Value::as_str);
        match event.name.as_str() {
            "SHUTDOWN" => {
                let reason = text("reason").unwrap_or("unknown");
                self.shutdown = Some(reason.to_owned());
                Some(format!("QEMU shuts down: {reason}"))
            }
            "GUEST_PANICKED" => {
                self.has_panicked = true;
                Some("the guest has panicked".into())
            }
            "RESET" => Some(format!(
                "the guest is reset: {}",
                text("reason").unwrap_or("unknown")
            )),
            "STOP" => {
                self.has_gone_on = false;
                Some("the guest stands still".into())
            }
            "RESUME" => {
                self.has_gone_on = true;
                Some("the guest goes on".into())
            }
            "BLOCK_IO_ERROR" => Some(format!(
                "a disk has an error: {}",
                text("reason").unwrap_or("unknown")
            )),
            _ => None,
        }
    }

    /// How QEMU has ended, if it has.
    pub fn ended(&mut self) -> Option<Ended> {
        if !self.has_ended() {
            return None;
        }
        // What it said last is in the socket still.
        self.news();
        let status = self.child.as_mut().and_then(|child| child.wait().ok());
        Some(judge(status, self.has_panicked, self.shutdown.as_deref()))
    }

    fn has_ended(&self) -> bool {
        self.ends_within(&Timespec::default())
    }

    /// Whether QEMU ends in this time.
    fn ends_within(&self, time: &Timespec) -> bool {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        poll(&mut fds, Some(time)).is_ok_and(|count| count > 0)
    }

    /// Whether QEMU, which has not done what it was told, has ended while the guest stood still:
    /// its memory is then as it was.
    pub fn ended_while_it_stood(&mut self) -> bool {
        let has_ended = self.ends_within(&qmp::left(within(ANSWER)));
        // What it said last is in the socket still.
        self.news();
        has_ended && !self.has_gone_on
    }

    /// Ends QEMU at once, and waits until it has.
    pub fn kill(mut self) {
        // It may have ended by itself.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        while poll(&mut fds, None) == Err(rustix::io::Errno::INTR) {}
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

/// Which of a process's descriptors is this file.
fn descriptor(folder: &Path, file: &File) -> io::Result<Option<i32>> {
    let about = file.metadata()?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // One may be closed meanwhile.
        let Ok(other) = fs::metadata(entry.path()) else {
            continue;
        };
        if (other.dev(), other.ino()) == (about.dev(), about.ino()) {
            let name = entry.file_name().into_string().ok();
            return Ok(name.and_then(|name| name.parse().ok()));
        }
    }
    Ok(None)
}

/// Why a memory backend would not survive, if it would not.
fn foreign(backend: &Value, parts: &[Part]) -> Option<String> {
    let id = backend.get("id").and_then(Value::as_str).unwrap_or("?");
    let size = backend.get("size").and_then(Value::as_u64);
    let is_shared = backend.get("share") == Some(&Value::Bool(true));
    let mut parts = parts.iter();
    let is_part = parts.any(|part| part.id == id && Some(part.size) == size);
    let is_ours = is_part && is_shared;
    (!is_ours).then(|| {
        format!("the memory '{id}' is not luo-qemu's and would be lost: remove it (object_del)")
    })
}

/// What QEMU's end means. Of a QEMU that was taken over there is no exit status.
fn judge(status: Option<ExitStatus>, has_panicked: bool, shutdown: Option<&str>) -> Ended {
    let ended = |code, reason: String| Ended { code, reason };
    if has_panicked || shutdown == Some("guest-panic") {
        return ended(exit::PANICKED, "the guest has panicked".into());
    }
    if let Some(status) = status.filter(|status| !status.success()) {
        return ended(exit::QEMU, format!("QEMU has ended: {}", describe(status)));
    }
    match shutdown {
        Some("guest-shutdown") => ended(exit::DONE, "the guest has shut down".into()),
        Some(reason) => ended(exit::DONE, format!("QEMU has ended: {reason}")),
        None if status.is_some() => ended(exit::DONE, "QEMU has ended".into()),
        None => ended(exit::QEMU, "QEMU has ended without a word".into()),
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("killed by signal {signal}"),
        (_, Some(code)) => format!("exit code {code}"),
        _ => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_exit_code() {
        let exited = |code: i32| Some(ExitStatus::from_raw(code << 8));
        let killed = Some(ExitStatus::from_raw(9));
        for (status, panicked, shutdown, code) in [
            (exited(0), false, Some("guest-shutdown"), exit::DONE),
            (exited(0), false, Some("host-qmp-quit"), exit::DONE),
            (exited(0), false, None, exit::DONE),
            (exited(0), true, Some("guest-shutdown"), exit::PANICKED),
            (exited(0), false, Some("guest-panic"), exit::PANICKED),
            (exited(1), false, None, exit::QEMU),
            (killed, false, None, exit::QEMU),
            // Taken over: nobody has its exit status.
            (None, false, Some("guest-shutdown"), exit::DONE),
            (None, false, None, exit::QEMU),
        ] {
            let ended = judge(status, panicked, shutdown);
            assert_eq!(ended.code, code, "{ended:?}");
        }
    }

    #[test]
    fn the_ram_is_found_among_descriptors() {
        let (ram, other) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let found = descriptor(Path::new("/proc/self/fd"), &ram).unwrap();
        assert_eq!(found, Some(std::os::fd::AsRawFd::as_raw_fd(&ram)));
        drop(ram);
        let gone = descriptor(Path::new("/proc/self/fdinfo"), &other).unwrap();
        assert_eq!(gone, None);
    }

    #[test]
    fn memory_of_others_is_told() {
        let ours = json!({"id": "luo-ram", "size": 4096, "share": true});
        let parts = [Part {
            id: "luo-ram".into(),
            offset: 0,
            size: 4096,
        }];
        assert_eq!(foreign(&ours, &parts), None);
        for other in [
            json!({"id": "luo-ram", "size": 8192, "share": true}),
            json!({"id": "luo-ram", "size": 4096, "share": false}),
            json!({"id": "dimm", "size": 4096, "share": true}),
            json!({}),
        ] {
            assert!(foreign(&other, &parts).is_some(), "{other}");
        }
    }
}
