// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be seen from outside: sysfs, fdinfo, descriptors.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result};
use luo_sys::{Device, SessionEntry, Which};

use crate::check::{Absent, name};

/// The orchestrator's folder in sysfs.
pub const SYSFS: &str = "/sys/kernel/liveupdate";

/// Writes to a file of the folder.
///
/// # Errors
/// [`Absent`] if it is not there.
pub fn set_sysfs(file: &str, text: &str) -> Result<()> {
    let path = format!("{SYSFS}/{file}");
    match fs::write(&path, text) {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Absent(path).into()),
        done => done.context(path),
    }
}

/// A file of the folder, whole.
///
/// # Errors
/// [`Absent`] if it is not there.
pub fn sysfs(file: &str) -> Result<String> {
    let path = format!("{SYSFS}/{file}");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Absent(path).into()),
        Err(error) => Err(error).context(path),
    }
}

/// The lines of a descriptor's fdinfo that are the orchestrator's: `luo-key:`
/// and the value, without the blanks between them.
///
/// # Errors
/// [`Absent`] if there are none.
pub fn fdinfo(fd: &impl AsFd) -> Result<Vec<(String, String)>> {
    let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    let text = fs::read_to_string(&path).context(path)?;
    let own = |line: &str| {
        let (key, value) = line.split_once(':')?;
        let key = key.strip_prefix("luo-")?;
        Some((key.to_owned(), value.trim().to_owned()))
    };
    let lines: Vec<_> = text.lines().filter_map(own).collect();
    if lines.is_empty() {
        return Err(Absent("a line of fdinfo that begins with luo-".to_owned()).into());
    }
    Ok(lines)
}

/// What the device says about the session of a name, if there is one.
///
/// # Errors
/// As [`Device::list_sessions`].
pub fn session(device: &Device, which: Which, wanted: &str) -> Result<Option<SessionEntry>> {
    let sessions = device.list_sessions(which)?;
    let wanted = name(wanted);
    Ok(sessions
        .into_iter()
        .find(|session| session.name == Some(wanted)))
}

/// How many descriptors this process has open.
///
/// # Errors
/// If `/proc` is not mounted.
pub fn open_descriptors() -> Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

/// The highest descriptor that this process has open.
///
/// # Errors
/// As [`open_descriptors`].
pub fn highest_descriptor() -> Result<Option<u64>> {
    let mut highest = None;
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse().ok());
        highest = highest.max(number);
    }
    Ok(highest)
}
