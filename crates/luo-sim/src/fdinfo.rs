// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel tells of an open file of this process beside its stat.

use std::os::fd::{AsRawFd as _, OwnedFd};

/// Whether a file is a nameless object of the kernel of a kind: `[eventfd]`, say.
pub(crate) fn is_anonymous(file: &OwnedFd, kind: &str) -> bool {
    // Of this thread: the process has other descriptors.
    let path = format!("/proc/thread-self/fd/{}", file.as_raw_fd());
    let link = std::fs::read_link(path);
    link.is_ok_and(|link| link.to_str() == Some(&format!("anon_inode:{kind}")))
}

/// The lines of `/proc/PID/fdinfo` of a file.
pub(crate) struct FdInfo(String);

impl FdInfo {
    pub(crate) fn of(file: &OwnedFd) -> Option<Self> {
        let path = format!("/proc/thread-self/fdinfo/{}", file.as_raw_fd());
        std::fs::read_to_string(path).ok().map(Self)
    }

    /// What stands behind a name and a colon.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let mut lines = self.0.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
    }
}
