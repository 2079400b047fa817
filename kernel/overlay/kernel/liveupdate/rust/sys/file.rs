// SPDX-License-Identifier: GPL-2.0-only
//! Files: those of the calling process, and what the orchestrator keeps of any.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::error::from_err_ptr;
use kernel::ffi::c_int;
use kernel::fs::file::LocalFile;
use kernel::fs::File;
use kernel::page::page_align;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use luo_core::Access;

/// The file behind a descriptor of the calling process.
///
/// # Errors
/// EBADF if there is none, it was opened with `O_PATH`, or can neither be read nor
/// written: it would come back with more.
pub(crate) fn get(fd: i32) -> Result<ARef<File>> {
    let fd = u32::try_from(fd).map_err(|_| EBADF)?;
    let file = LocalFile::fget(fd)?;
    // Both access bits set mean neither reading nor writing.
    if file.flags() & bindings::O_ACCMODE == bindings::O_ACCMODE {
        return Err(EBADF);
    }
    // SAFETY: Only called from ioctls, which hold no `fdget_pos` of their task.
    Ok(unsafe { LocalFile::assume_no_fdget_pos(file) })
}

/// The number of an open file, as long as it is open. Its address is not followed.
pub(crate) fn address(file: &File) -> u64 {
    file.as_ptr() as usize as u64
}

/// Whether this is a regular file, as a memfd is. Only such a file can be opened
/// anew by its path, and only of such a file the size says what it keeps.
fn is_regular(file: &File) -> bool {
    // SAFETY: An open file has an inode, and the type of an inode never changes.
    let mode = unsafe { (*(*file.as_ptr()).f_inode).i_mode };
    u32::from(mode) & bindings::S_IFMT == bindings::S_IFREG
}

/// Bytes of memory that a file stands for: the size of a regular file in whole
/// pages, 0 for others, of which only their handlers know.
pub(crate) fn bytes(file: &File) -> u64 {
    if !is_regular(file) {
        return 0;
    }
    // SAFETY: An open file has an inode.
    let size = unsafe { bindings::luo_i_size_read((*file.as_ptr()).f_inode) };
    let size = usize::try_from(size).unwrap_or(0);
    page_align(size).map_or(u64::MAX, |bytes| bytes as u64)
}

/// The access that a file was opened for. How a file comes back that is not a regular one is its
/// handler's business.
pub(crate) fn access(file: &File) -> Access {
    match file.flags() & bindings::O_ACCMODE {
        bindings::O_RDONLY if is_regular(file) => Access::ReadOnly,
        bindings::O_WRONLY if is_regular(file) => Access::WriteOnly,
        _ => Access::Full,
    }
}

/// Flags of an open file that are not about access.
const KEPT_FLAGS: u32 =
    bindings::O_APPEND | bindings::O_NONBLOCK | bindings::O_DIRECT | bindings::O_NOATIME;

/// Opens what `file` is anew, with less access and at the same position, on behalf
/// of those who opened `file`.
///
/// # Errors
/// EINVAL if it is not a regular file; those of its file system.
pub(crate) fn narrow(file: ARef<File>, access: Access) -> Result<ARef<File>> {
    let flags = match access {
        Access::Full => return Ok(file),
        Access::ReadOnly => bindings::O_RDONLY,
        Access::WriteOnly => bindings::O_WRONLY,
    };
    if !is_regular(&file) {
        return Err(EINVAL);
    }
    // Flags that its owner has set with it stay.
    let flags = flags | file.flags() & KEPT_FLAGS;
    let from = file.as_ptr();
    // SAFETY: Path and credentials of an open file are there and do not change;
    // the callee takes references of its own.
    let opened = from_err_ptr(unsafe {
        bindings::dentry_open(
            &raw const (*from).__bindgen_anon_1.f_path,
            (flags | bindings::O_LARGEFILE) as c_int,
            (*from).f_cred,
        )
    })?;
    let opened = NonNull::new(opened).ok_or(ENOMEM)?;
    // SAFETY: Both are files; the new one is ours alone. Nobody moves in the old
    // one: a handler has just made it.
    unsafe { (*opened.as_ptr()).f_pos = (*from).f_pos };
    // SAFETY: The file is new: its one reference is ours, and nobody is in
    // `fdget_pos` with it.
    Ok(unsafe { ARef::from_raw(opened.cast()) })
}
