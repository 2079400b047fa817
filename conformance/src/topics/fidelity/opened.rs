// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a file has been opened for.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use anyhow::Result;
use rustix::fs::{MemfdFlags, Mode, OFlags};

use super::pages::{is_plain, plain};
use crate::check::kept;

/// A memfd that is opened anew by its path in `/proc`, and not as it was made.
fn opened_anew(name: &str, flags: OFlags) -> Result<File> {
    let file = plain(name, MemfdFlags::ALLOW_SEALING)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let opened = rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())?;
    Ok(File::from(opened))
}

pub(super) mod direct {
    use super::*;

    pub(in super::super) use super::super::pages::unchanged as change;

    const FLAGS: OFlags = OFlags::DIRECT.union(OFlags::NOATIME);

    pub(in super::super) fn make() -> Result<File> {
        opened_anew("direct", OFlags::RDWR | FLAGS)
    }

    pub(in super::super) fn look(file: &File) -> Result<()> {
        let flags = rustix::fs::fcntl_getfl(file)?;
        kept("the flags", flags & FLAGS, FLAGS)?;
        is_plain(file)
    }
}

pub(super) mod write_only {
    use super::*;

    pub(in super::super) use super::super::pages::unchanged as change;

    pub(in super::super) fn make() -> Result<File> {
        opened_anew("write-only", OFlags::WRONLY)
    }

    pub(in super::super) fn look(file: &File) -> Result<()> {
        let access = rustix::fs::fcntl_getfl(file)? & OFlags::ACCMODE;
        kept("what it is open for", access, OFlags::WRONLY)
    }
}
