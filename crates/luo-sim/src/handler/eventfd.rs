// SPDX-License-Identifier: MIT OR Apache-2.0
//! The handler of eventfds. They are made anew from what is handed over, as in the kernel.

use std::sync::Arc;

use luo_abi::errno::Errno;
use luo_abi::note::{self, NONBLOCK, SEMAPHORE};
use luo_core::{OnePage, Small, Unrestored};
use rustix::event::EventfdFlags;
use rustix::fs::OFlags;

use crate::descriptor::File;
use crate::fdinfo::{FdInfo, is_anonymous};
use crate::machine::Machine;
use crate::memfd::errno;

/// The handler.
pub(crate) static EVENTFDS: OnePage<Eventfds> = OnePage(Eventfds);

/// Eventfds, of which a note tells everything.
pub(crate) struct Eventfds;

/// The largest count that a program can write.
const MOST: u64 = u64::MAX - 1;

impl Small<Machine> for Eventfds {
    type Note = note::Eventfd;

    fn compatible(&self) -> &'static str {
        note::EVENTFD
    }

    fn knows(&self, _: &Machine, file: &File) -> bool {
        is_anonymous(file, "[eventfd]")
    }

    fn object_id(&self, machine: &Machine, file: &File) -> u64 {
        machine.open_files.number(file)
    }

    fn look(&self, _: &Machine, file: &File) -> Result<note::Eventfd, Errno> {
        let info = FdInfo::of(file).ok_or(Errno::EIO)?;
        let count = info.value("eventfd-count");
        let count = count.and_then(|count| u64::from_str_radix(count, 16).ok());
        let flags = rustix::fs::fcntl_getfl(file).map_err(errno)?;
        let set = |is_set: bool, flag| if is_set { flag } else { 0 };
        Ok(note::Eventfd {
            count: count.ok_or(Errno::EIO)?,
            flags: set(flags.contains(OFlags::NONBLOCK), NONBLOCK)
                | set(info.value("eventfd-semaphore") == Some("1"), SEMAPHORE),
        })
    }

    fn make(&self, _: &Machine, note: &note::Eventfd) -> Result<File, Unrestored> {
        let mut flags = EventfdFlags::CLOEXEC;
        flags.set(EventfdFlags::NONBLOCK, note.flags & NONBLOCK != 0);
        flags.set(EventfdFlags::SEMAPHORE, note.flags & SEMAPHORE != 0);
        let now = |why| Unrestored::Now(errno(why));
        let file = rustix::event::eventfd(0, flags).map_err(now)?;
        if note.count > 0 {
            let count = note.count.min(MOST).to_ne_bytes();
            rustix::io::write(&file, &count).map_err(now)?;
        }
        Ok(Arc::new(file.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_eventfd_is_one() {
        let file = rustix::event::eventfd(3, EventfdFlags::CLOEXEC).unwrap();
        assert!(is_anonymous(&file, "[eventfd]"));
        assert_eq!(FdInfo::of(&file).unwrap().value("eventfd-count"), Some("3"));
        let (reader, _) = rustix::pipe::pipe().unwrap();
        assert!(!is_anonymous(&reader, "[eventfd]"));
    }
}
