// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memfd that most of these cases are about.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use anyhow::{Result, ensure};
use rustix::fs::MemfdFlags;

pub(super) const PAGE: u64 = 4096;

/// A memfd of four pages, the second of them written.
pub(super) fn plain(name: &str, flags: MemfdFlags) -> Result<File> {
    let fd = rustix::fs::memfd_create(name, flags | MemfdFlags::CLOEXEC)?;
    let file = File::from(fd);
    file.set_len(4 * PAGE)?;
    file.write_all_at(&[0x5a; PAGE as usize], PAGE)?;
    Ok(file)
}

/// Whether a file has what was written to it then.
pub(super) fn is_plain(file: &File) -> Result<()> {
    let mut seen = vec![0xff; 4 * PAGE as usize];
    file.read_exact_at(&mut seen, 0)?;
    let mut expected = vec![0; 4 * PAGE as usize];
    expected[PAGE as usize..2 * PAGE as usize].fill(0x5a);
    ensure!(seen == expected, "the contents differ");
    Ok(())
}

/// Nothing is done to a file while it is preserved.
pub(super) fn unchanged(_: &File) -> Result<()> {
    Ok(())
}
