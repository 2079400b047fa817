// SPDX-License-Identifier: GPL-2.0-only
//! Files of the calling process.

use kernel::fs::file::LocalFile;
use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::aref::ARef;

/// The file behind a descriptor of the calling process.
///
/// # Errors
/// EBADF if there is none, or it was opened with `O_PATH`.
pub(crate) fn get(fd: i32) -> Result<ARef<File>> {
    let fd = u32::try_from(fd).map_err(|_| EBADF)?;
    let file = LocalFile::fget(fd)?;
    // SAFETY: Only called from ioctls, which hold no `fdget_pos` of their task.
    Ok(unsafe { LocalFile::assume_no_fdget_pos(file) })
}
