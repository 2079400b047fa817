// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device's calls beyond mainline and the proposal, see
//! [`luo_abi::contract`], and waiting for a change.

use core::mem::size_of;
use core::time::Duration;
use std::os::fd::AsFd;

use luo_abi::contract;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zerocopy::FromZeros;

use crate::call::with_argument;
use crate::dependency::{self, Needed};
use crate::device::Device;
use crate::entry::{DependencyEntry, FileEntry, ParticipantEntry, SessionEntry};
use crate::error::{Error, Result};
use crate::info::{Failure, Info};
use crate::list::{self, Query};
use crate::name::Token;

/// Which sessions [`Device::list_sessions`] lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those for the next kernel.
    Outgoing,
    /// Those of the previous kernel.
    Incoming,
    /// Both.
    All,
}

impl Which {
    const fn flags(self) -> u32 {
        match self {
            Self::Outgoing => contract::LIST_OUTGOING,
            Self::Incoming => contract::LIST_INCOMING,
            Self::All => contract::LIST_OUTGOING | contract::LIST_INCOMING,
        }
    }
}

impl Device {
    /// Says that a file registered on this descriptor needs another.
    ///
    /// # Errors
    /// As [`crate::Session::add_dependency`].
    pub fn add_dependency(&self, token: Token, on: Needed) -> Result<()> {
        dependency::add(self, token, on)
    }

    /// Takes that back.
    ///
    /// # Errors
    /// As [`crate::Session::drop_dependency`].
    pub fn drop_dependency(&self, token: Token, on: Needed) -> Result<()> {
        dependency::drop(self, token, on)
    }

    /// The files registered on this descriptor.
    ///
    /// # Errors
    /// ESTALE: they change faster than they can be listed. ENOTTY, or EINVAL in
    /// mainline: the implementation lacks the call.
    pub fn list_files(&self) -> Result<Vec<FileEntry>> {
        files(self, 0)
    }

    /// The files that were registered on the device in the previous kernel, by whomever,
    /// whether they have been restored or not.
    ///
    /// # Errors
    /// As [`Device::list_files`].
    pub fn list_arrived_files(&self) -> Result<Vec<FileEntry>> {
        files(self, contract::LIST_INCOMING)
    }

    /// What a file registered on this descriptor needs.
    ///
    /// # Errors
    /// ENOENT: there is no such token. Else as [`Device::list_files`].
    pub fn list_dependencies(&self, token: Token) -> Result<Vec<DependencyEntry>> {
        dependencies(self, token)
    }

    /// The sessions, those of device instances included; without CAP_SYS_ADMIN those of the
    /// caller's own user.
    ///
    /// # Errors
    /// As [`Device::list_files`].
    pub fn list_sessions(&self, which: Which) -> Result<Vec<SessionEntry>> {
        let query = Query {
            command: contract::LIST_SESSIONS,
            flags: which.flags(),
            token: 0,
        };
        let entries = list::all::<contract::SessionInfo>(self, query)?;
        Ok(entries.into_iter().map(Into::into).collect())
    }

    /// File handlers, FLBs and subsystems.
    ///
    /// # Errors
    /// As [`Device::list_files`]. EACCES without CAP_SYS_ADMIN.
    pub fn list_participants(&self) -> Result<Vec<ParticipantEntry>> {
        let query = Query {
            command: contract::LIST_PARTICIPANTS,
            flags: 0,
            token: 0,
        };
        let entries = list::all::<contract::ParticipantInfo>(self, query)?;
        Ok(entries.into_iter().map(Into::into).collect())
    }

    /// What this orchestrator is, and how it stands.
    ///
    /// # Errors
    /// ENOTTY, or EINVAL in mainline: the implementation lacks the call.
    pub fn info(&self) -> Result<Info> {
        let mut argument = contract::Info::new_zeroed();
        argument.size = size_of::<contract::Info>() as u32;
        with_argument(self, contract::GET_INFO, &mut argument)?;
        Ok(argument.into())
    }

    /// Why the last transition failed.
    ///
    /// # Errors
    /// As [`Device::info`]. EACCES without CAP_SYS_ADMIN.
    pub fn failure(&self) -> Result<Failure> {
        let mut argument = contract::Failure::new_zeroed();
        argument.size = size_of::<contract::Failure>() as u32;
        with_argument(self, contract::GET_FAILURE, &mut argument)?;
        Ok(argument.into())
    }

    /// Waits until the state has changed since this descriptor last read it
    /// ([`Device::state`], [`Device::info`], or the open). Says whether it has.
    ///
    /// # Errors
    /// EINTR, ENOMEM.
    pub fn wait_for_change(&self, timeout: Duration) -> Result<bool> {
        let call = "poll";
        let wanted = PollFlags::IN | PollFlags::PRI;
        let mut fds = [PollFd::new(self, wanted)];
        let timeout =
            Timespec::try_from(timeout).map_err(|_| Error::of(call)(rustix::io::Errno::INVAL))?;
        poll(&mut fds, Some(&timeout)).map_err(Error::of(call))?;
        Ok(fds[0].revents().contains(wanted))
    }
}

pub(crate) fn files(fd: &impl AsFd, flags: u32) -> Result<Vec<FileEntry>> {
    let query = Query {
        command: contract::LIST_FILES,
        flags,
        token: 0,
    };
    let entries = list::all::<contract::FileInfo>(fd, query)?;
    Ok(entries.into_iter().map(Into::into).collect())
}

pub(crate) fn dependencies(fd: &impl AsFd, token: Token) -> Result<Vec<DependencyEntry>> {
    let query = Query {
        command: contract::LIST_DEPENDENCIES,
        flags: 0,
        token: token.0,
    };
    let entries = list::all::<contract::DependencyInfo>(fd, query)?;
    Ok(entries.into_iter().map(Into::into).collect())
}
