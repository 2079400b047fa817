// SPDX-License-Identifier: MIT OR Apache-2.0
//! `/dev/luo_forge`: files that are preserved and fail on demand.
//!
//! A file is a socket that programs hold, known by its number; with it goes nothing
//! but its ID.

use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::sync::Arc;

use luo_abi::errno::Errno;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::caller::Thread;
use crate::descriptor::File;
use crate::driver::{Driver, State, fail_with};
use crate::machine::Machine;
use crate::socket;

/// What the handler calls itself in a handover.
pub(crate) const HANDLER: &str = "forge-v1";

/// What a preserved file leaves for the next kernel: this and its ID.
const COOKIE: u64 = 0x666f_7267_0000_0000;
const ID: u64 = 0xffff_ffff;

/// The errno of foreign data.
const EILSEQ: i32 = -84;

fn id_of(data: u64) -> u32 {
    (data & ID) as u32
}

impl State {
    /// Makes a file of an ID; what programs have let go of is forgotten.
    fn make(&mut self, id: u32) -> Result<OwnedFd, Errno> {
        self.files.retain(|_, (_, ours)| !is_closed(ours));
        let (ours, theirs) = socket::pair().map_err(socket::errno)?;
        let number = socket::number(&theirs)?;
        self.files.insert(number, (id, ours));
        Ok(theirs)
    }
}

fn is_closed(ours: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(ours, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

impl Driver {
    /// Opens the device for a caller.
    pub(crate) fn open(&self, caller: &Thread<'_>, close_on_exec: bool) -> Result<RawFd, Errno> {
        let mut state = self.state();
        let id = state.last_id.checked_add(1).ok_or(Errno::ENOSPC)?;
        let theirs = state.make(id)?;
        state.last_id = id;
        drop(state);
        caller.install(theirs.as_fd(), close_on_exec)
    }

    /// The ID of a file, if it is one of the driver's.
    pub(crate) fn find(&self, file: &OwnedFd) -> Option<u32> {
        if !socket::may_be_ours(file) {
            return None;
        }
        let number = socket::number(file).ok()?;
        self.state().files.get(&number).map(|&(id, _)| id)
    }

    /// The same of a file that its handler was asked for.
    fn id(&self, file: &OwnedFd) -> u32 {
        self.find(file).unwrap_or(0)
    }

    pub(crate) fn preserve(&self, machine: &Machine, file: &File) -> Result<u64, Errno> {
        let id = self.id(file);
        self.enter(&machine.log, &machine.stop, &format!("preserve:{id}"));
        let mut state = self.state();
        if state.numbers.strike(id) {
            fail_with(state.numbers.preserve_errno)?;
        }
        state.numbers.preserved += 1;
        Ok(COOKIE | u64::from(id))
    }

    pub(crate) fn unpreserve(&self, machine: &Machine, file: &File) {
        self.enter(
            &machine.log,
            &machine.stop,
            &format!("unpreserve:{}", self.id(file)),
        );
        self.state().numbers.preserved -= 1;
    }

    pub(crate) fn freeze(&self, machine: &Machine, file: &File) -> Result<(), Errno> {
        let id = self.id(file);
        self.enter(&machine.log, &machine.stop, &format!("freeze:{id}"));
        let mut state = self.state();
        let numbers = &mut state.numbers;
        if numbers.freeze_errno != 0 && numbers.strike(id) {
            if numbers.freeze_passes <= 0 {
                fail_with(numbers.freeze_errno)?;
            }
            numbers.freeze_passes -= 1;
        }
        numbers.frozen += 1;
        Ok(())
    }

    pub(crate) fn unfreeze(&self, machine: &Machine, file: &File) {
        self.enter(
            &machine.log,
            &machine.stop,
            &format!("unfreeze:{}", self.id(file)),
        );
        self.state().numbers.frozen -= 1;
    }

    pub(crate) fn retrieve(&self, machine: &Machine, data: u64) -> Result<File, Errno> {
        let id = id_of(data);
        self.enter(&machine.log, &machine.stop, &format!("retrieve:{id}"));
        let mut state = self.state();
        if state.numbers.strike(id) {
            fail_with(state.numbers.retrieve_errno)?;
        }
        if data & !ID != COOKIE {
            Errno::check(EILSEQ)?;
        }
        state.make(id).map(|file| Arc::new(file.into()))
    }

    pub(crate) fn can_finish(&self) -> bool {
        let mut state = self.state();
        if state.numbers.finish_refusals <= 0 {
            return true;
        }
        state.numbers.finish_refusals -= 1;
        false
    }

    pub(crate) fn finish(&self, machine: &Machine, data: u64) {
        self.enter(
            &machine.log,
            &machine.stop,
            &format!("finish:{}", id_of(data)),
        );
    }
}
