// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs of users without privileges, and a device that they may open.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, anyhow};
use luo_abi::uapi::DEVICE_PATH;
use rustix::process::{Gid, Uid};
use rustix::thread::{self, CapabilitySet};

use crate::check::{same, skip};
use crate::look::{set_sysfs, sysfs};

/// Two users that are nobody else here.
pub const USERS: [u32; 2] = [61_001, 61_002];

/// Does something as a user without privileges: who a program is, is a property of a
/// thread.
///
/// # Errors
/// Those of what is done; that it cannot become that user.
pub fn as_user<T: Send>(user: u32, does: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    in_thread(move || {
        let group = Gid::from_raw(user);
        let user = Uid::from_raw(user);
        let become_it = || -> rustix::io::Result<()> {
            thread::set_thread_groups(&[])?;
            thread::set_thread_res_gid(group, group, group)?;
            thread::set_thread_res_uid(user, user, user)
        };
        become_it().map_err(|why| skip(format!("whoever runs this stays who they are: {why}")))?;
        does()
    })
}

/// Does something as the same user without `CAP_SYS_ADMIN`, and so do the threads that it begins.
///
/// # Errors
/// Those of what is done; that it has no such capability.
pub fn without_privileges<T: Send>(does: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    in_thread(move || {
        let mut sets = thread::capabilities(None)?;
        if !sets.effective.contains(CapabilitySet::SYS_ADMIN) {
            return Err(skip("whoever runs this has no capability to lack"));
        }
        sets.effective.remove(CapabilitySet::SYS_ADMIN);
        thread::set_capabilities(None, sets)?;
        does()
    })
}

fn in_thread<T: Send>(does: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| scope.spawn(does).join())
        .map_err(|_| anyhow!("the thread panicked"))?
}

/// While it is there, everybody may open the device.
#[derive(Debug)]
pub struct Delegated(());

impl Delegated {
    /// Lets everybody open it.
    ///
    /// # Errors
    /// Its mode cannot be changed.
    pub fn new() -> Result<Self> {
        set_mode(0o666)?;
        Ok(Self(()))
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let _ = set_mode(0o600);
    }
}

fn set_mode(mode: u32) -> Result<()> {
    let mode = Permissions::from_mode(mode);
    fs::set_permissions(DEVICE_PATH, mode).context(DEVICE_PATH)
}

/// While it is there, users may preserve whatever has a handler.
#[derive(Debug)]
pub struct AllKinds {
    before: String,
}

impl AllKinds {
    /// Lets them.
    ///
    /// # Errors
    /// There is no such choice.
    pub fn new() -> Result<Self> {
        let before = sysfs(KINDS)?;
        set_sysfs(KINDS, "all")?;
        same("what is chosen", sysfs(KINDS)?.as_str(), "all\n")?;
        Ok(Self { before })
    }
}

impl Drop for AllKinds {
    fn drop(&mut self) {
        let _ = set_sysfs(KINDS, self.before.trim());
    }
}

/// The choice.
const KINDS: &str = "user_kinds";
