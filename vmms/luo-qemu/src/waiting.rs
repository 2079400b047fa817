// SPDX-License-Identifier: MIT OR Apache-2.0
//! A QEMU that is started before its RAM is there. To start it takes longer than anything else that
//! a guest waits for after a jump, and to take back its RAM longer the more there is: so both are
//! done at the same time.
//!
//! QEMU makes its control socket early, and it can be told to wait there until somebody connects.
//! Only then it opens its disks, the accelerator and its RAM, at a path. That path is a descriptor
//! of this process, whose number is known before, and which becomes the RAM right before somebody
//! connects.
//!
//! After a jump it can be started earlier still, before the agent is asked for what is there of the
//! guest: from its command line as it is given in this boot, which is the same in most cases, if the
//! machine type in it has a version. Where that was not what the guest was started with, it is ended,
//! and the right one is started.
//!
//! ```text
//!   luo-qemu:  a place for the RAM -> start -> ... take the RAM back -> put it there -> connect
//!   QEMU:                               libraries, options, control socket: waits -> RAM, machine
//! ```

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Child;

use rustix::io::{DupFlags, dup3};

use crate::about::{self, About};
use crate::exit::Error;
use crate::guest::Guest;
use crate::launch::{self, Source};
use crate::room::Room;
use crate::wanted::Wanted;

/// Where the kernel says that it came by a live update, and that not all is back yet. Mainline's does
/// not.
const STATE: &str = "/sys/kernel/liveupdate/state";

/// A QEMU that waits for its RAM. Dropped, it is ended: nothing has run in it.
#[derive(Debug)]
pub struct Waiting {
    /// What it was started by.
    about: About,
    /// It is there until QEMU is told to go.
    child: Option<Child>,
    /// The descriptor that becomes the RAM.
    place: OwnedFd,
}

impl Waiting {
    /// Starts it. It takes the lock that says that it lives.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn start(about: &About, room: &Room, lock: File) -> Result<Self, Error> {
        let place = File::open("/dev/null").map_err(Error::system("/dev/null"))?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), place.as_raw_fd());
        let words = [about.program.clone()];
        let child = launch::start(about, &words, room, Source::Coming(&path), lock, true)?;
        Ok(Self {
            about: about.clone(),
            child: Some(child),
            place: place.into(),
        })
    }

    /// Starts it by a command line, if the machine has jumped and a guest may have come along. That it
    /// cannot be started is seen later.
    #[must_use]
    pub fn early(wanted: &Wanted, room: &Room) -> Option<Self> {
        let state = std::fs::read_to_string(STATE).ok()?;
        let about = guess(wanted).filter(|_| state.trim() == "updated")?;
        let lock = room.vacant().ok()??;
        Self::start(&about, room, lock).ok()
    }

    /// Whether it was started as this guest was.
    #[must_use]
    pub fn is_for(&self, about: &About) -> bool {
        let line = |about: &About| {
            let About {
                program,
                machine,
                memory,
                nodes,
                folder,
                arguments,
                ..
            } = about.clone();
            (program, machine, memory, nodes, folder, arguments)
        };
        line(&self.about) == line(about)
    }

    /// Gives it its RAM, and waits until it answers.
    ///
    /// # Errors
    /// [`Error::Ended`], [`Error::Qmp`], [`Error::System`]. It is ended then.
    pub fn go(mut self, room: &Room, ram: &File) -> Result<Guest, Error> {
        let put = dup3(ram, &mut self.place, DupFlags::CLOEXEC);
        put.map_err(|why| Error::system("the guest's RAM")(why.into()))?;
        let gone = || Error::Ended("the one that waited is gone".into());
        let mut guest = Guest::greet(self.child.take().ok_or_else(gone)?, room)?;
        match guest.note(room, ram) {
            Ok(()) => Ok(guest),
            Err(why) => {
                guest.kill();
                Err(why)
            }
        }
    }
}

/// What a guest is started by, as far as its command line tells without asking QEMU.
fn guess(wanted: &Wanted) -> Option<About> {
    let machine = wanted.machine.clone().filter(|name| has_version(name))?;
    Some(About {
        version: about::VERSION,
        program: wanted.program.clone(),
        qemu: String::new(),
        machine,
        memory: wanted.bytes(),
        nodes: wanted.nodes(),
        folder: std::env::current_dir().ok()?,
        arguments: wanted.arguments.clone(),
        disks_in_memory: wanted.disks_in_memory,
        kept: None,
        tsc_khz: None,
    })
}

/// Whether a machine type is one for good: `pc-q35-10.0` is, and `q35` is another one in each QEMU.
fn has_version(machine: &str) -> bool {
    let version = machine.rsplit('-').next().unwrap_or_default();
    let is_number = |part: &str| part.parse::<u16>().is_ok();
    let parts = version.split_once('.');
    parts.is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(machine: Option<&str>) -> Wanted {
        Wanted {
            name: luo_client::SessionName::new("vm").unwrap(),
            memory: vec![1 << 28],
            huge: None,
            state: None,
            program: "/usr/bin/qemu-system-x86_64".into(),
            arguments: vec!["-nographic".into()],
            machine: machine.map(str::to_owned),
            disks_in_memory: false,
        }
    }

    #[test]
    fn a_qemu_is_started_early_for_a_machine_that_has_a_version() {
        for name in ["pc-q35-10.0", "pc-i440fx-8.2"] {
            let about = guess(&wanted(Some(name))).unwrap();
            assert_eq!((about.machine.as_str(), about.memory), (name, 1 << 28));
        }
        for name in [None, Some("q35"), Some("pc"), Some("microvm"), Some("pc-1")] {
            assert_eq!(guess(&wanted(name)), None, "{name:?}");
        }
    }

    #[test]
    fn it_is_for_the_guest_that_was_started_so() {
        let about = guess(&wanted(Some("pc-q35-10.0"))).unwrap();
        let waiting = Waiting {
            about: about.clone(),
            child: None,
            place: File::open("/dev/null").unwrap().into(),
        };
        let is = About {
            qemu: "10.0.2".into(),
            tsc_khz: Some(2_400_000),
            ..about.clone()
        };
        assert!(waiting.is_for(&is));
        let other = About {
            arguments: vec!["-display".into(), "none".into()],
            ..about
        };
        assert!(!waiting.is_for(&other));
    }
}
