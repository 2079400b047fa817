// SPDX-License-Identifier: MIT OR Apache-2.0
//! A session's calls beyond mainline, see [`luo_abi::contract`].

use core::mem::size_of;
use std::os::fd::AsFd as _;

use luo_abi::contract::{self, SessionFreeze, UnpreserveFd};

use crate::call::with_argument;
use crate::dependency::{self, Needed};
use crate::device_contract::{dependencies, files};
use crate::entry::{DependencyEntry, FileEntry};
use crate::error::Result;
use crate::name::Token;
use crate::session::Session;

impl Session {
    /// Takes one file back out of an outgoing session. A file that needs it misses it
    /// from now on, and prepare fails until that is mended.
    ///
    /// # Errors
    /// - ENOENT: there is no such token.
    /// - EINVAL: this is a retrieved session.
    /// - EBUSY: the file took part in a prepare, or the session is frozen.
    /// - ENOTTY, or EINVAL in mainline: the implementation lacks the call.
    pub fn unpreserve_fd(&self, token: Token) -> Result<()> {
        let mut argument = UnpreserveFd {
            size: size_of::<UnpreserveFd>() as u32,
            reserved: 0,
            token: token.0,
        };
        with_argument(self, contract::UNPRESERVE_FD, &mut argument)
    }

    /// Freezes this session before all others are, so that it does not make the blackout of all
    /// longer: its handlers have their last look now. From here on it does not change, and what is
    /// written to its files may not arrive. Its close undoes that, and so does all that calls an
    /// update off: a cancel, or a freeze or a reboot that fails. Nothing else does.
    ///
    /// # Errors
    /// The session is as before.
    /// - EINVAL: this is a retrieved session.
    /// - EBUSY: it is frozen already, by itself or with all others; or a file of another session
    ///   needs one of this, and that session is to be frozen first.
    /// - ENOLINK: a file needs one that is not there.
    /// - What a file's handler says; [`Session::list_files`] shows which file that is.
    /// - ENOTTY, or EINVAL in mainline: the implementation lacks the call.
    pub fn freeze(&self) -> Result<()> {
        let mut argument = SessionFreeze {
            size: size_of::<SessionFreeze>() as u32,
            reserved: 0,
        };
        with_argument(self, contract::SESSION_FREEZE, &mut argument)
    }

    /// Says that file `token` of this session needs another.
    ///
    /// # Errors
    /// - ENOENT: one of the two is not there, or the session is another user's.
    /// - EACCES: the session is not the caller's; [`Session::add_dependency_of`] takes its
    ///   descriptor.
    /// - EDQUOT: the user has as many dependencies as a user may.
    /// - ELOOP: the other needs this one, directly or not, or is this one.
    /// - EEXIST: that is declared already.
    /// - ENOSPC: there are as many dependencies as can be handed over.
    /// - EINVAL: this is a retrieved session.
    /// - EBUSY: the file took part in a prepare, or one of the two sessions is frozen.
    /// - ENOTTY, or EINVAL in mainline: the implementation lacks the call.
    pub fn add_dependency(&self, token: Token, on: Needed) -> Result<()> {
        dependency::add(self, token, on)
    }

    /// Says that file `token` of this session needs file `on` of another, whoever that one
    /// belongs to: to have its descriptor is to have its consent.
    ///
    /// # Errors
    /// As [`Session::add_dependency`]. EINVAL also: the other is a retrieved session.
    pub fn add_dependency_of(&self, token: Token, other: &Session, on: Token) -> Result<()> {
        dependency::add_of(self, token, other.as_fd(), on)
    }

    /// Takes a dependency back, one that is missing included.
    ///
    /// # Errors
    /// ENOENT: it is not declared. EINVAL, EBUSY, ENOTTY as
    /// [`Session::add_dependency`].
    pub fn drop_dependency(&self, token: Token, on: Needed) -> Result<()> {
        dependency::drop(self, token, on)
    }

    /// The session's files.
    ///
    /// # Errors
    /// As [`crate::Device::list_files`].
    pub fn list_files(&self) -> Result<Vec<FileEntry>> {
        files(self, 0)
    }

    /// What a file of this session needs.
    ///
    /// # Errors
    /// As [`crate::Device::list_dependencies`].
    pub fn list_dependencies(&self, token: Token) -> Result<Vec<DependencyEntry>> {
        dependencies(self, token)
    }
}
