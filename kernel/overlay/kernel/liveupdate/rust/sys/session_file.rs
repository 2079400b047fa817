// SPDX-License-Identifier: GPL-2.0-only
//! The file behind a session's descriptor: an anonymous inode whose private
//! data is the session's id.

use kernel::bindings;
use kernel::error::from_err_ptr;
use kernel::ffi::{c_int, c_long, c_uint, c_ulong, c_void};
use kernel::fs::file::LocalFile;
use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use luo_abi::bytes;
use luo_core::{SessionId, SessionName};

use super::seq::Text;
use crate::session;

/// Room for the link text: a prefix and a name.
const LINK_ROOM: usize = 128;

/// Makes the file of a session. Dropping it closes the session.
pub(crate) fn create(name: &SessionName, id: SessionId) -> Result<ARef<File>> {
    let mut room = [0u8; LINK_ROOM];
    bytes::copy(&mut room, PREFIX);
    // The name is 63 bytes at most, so it fits and the last byte of the room stays zero.
    let rest = room.get_mut(PREFIX.len()..).ok_or(EINVAL)?;
    bytes::copy(rest, name.as_bytes());
    // SAFETY: The text is terminated and copied by the callee; the operations
    // are static; they read the private data as the id that is stored here.
    let file = from_err_ptr(unsafe {
        bindings::anon_inode_getfile(
            room.as_ptr().cast(),
            Operations::table(),
            id.to_bits() as usize as *mut c_void,
            bindings::O_RDWR as c_int,
        )
    })?;
    let file = core::ptr::NonNull::new(file).ok_or(ENOMEM)?;
    // SAFETY: The file is new: its one reference is ours, and nobody is in
    // `fdget_pos` with it.
    Ok(unsafe { ARef::from_raw(file.cast()) })
}

/// The session behind a descriptor of the calling process.
///
/// # Errors
/// EBADF if there is no such descriptor, EINVAL if it is not one of a session.
pub(crate) fn of_descriptor(fd: i32) -> Result<SessionId> {
    let fd = u32::try_from(fd).map_err(|_| EBADF)?;
    let file = LocalFile::fget(fd)?;
    // SAFETY: An open file has operations, which never change.
    let operations = unsafe { (*file.as_ptr()).f_op };
    if !core::ptr::eq(operations, Operations::table()) {
        return Err(EINVAL);
    }
    // SAFETY: Only files that `create` made have this table.
    Ok(unsafe { Operations::id(file.as_ptr()) })
}

/// The text that `readlink` shows before the name, behind `anon_inode:`.
const PREFIX: &[u8] = b"[luo_session] ";

struct Operations;

impl Operations {
    const TABLE: bindings::file_operations = bindings::file_operations {
        release: Some(Self::release),
        unlocked_ioctl: Some(Self::ioctl),
        #[cfg(CONFIG_COMPAT)]
        compat_ioctl: bindings::compat_ptr_ioctl,
        show_fdinfo: Some(Self::show_fdinfo),
        ..pin_init::zeroed()
    };

    const fn table() -> &'static bindings::file_operations {
        &Self::TABLE
    }

    /// The id that [`create`] stored.
    ///
    /// # Safety
    ///
    /// `file` is a file that [`create`] made.
    unsafe fn id(file: *mut bindings::file) -> SessionId {
        // SAFETY: The file is valid by the contract of file operations, and its
        // private data never changes.
        let bits = unsafe { (*file).private_data } as usize as u64;
        SessionId::from_bits(bits)
    }

    /// # Safety
    ///
    /// Called by the VFS for a file that [`create`] made.
    unsafe extern "C" fn ioctl(
        file: *mut bindings::file,
        command: c_uint,
        argument: c_ulong,
    ) -> c_long {
        // SAFETY: The table belongs to files that `create` made only.
        let id = unsafe { Self::id(file) };
        match session::ioctl(id, command, argument) {
            Ok(()) => 0,
            Err(why) => why.to_errno() as c_long,
        }
    }

    /// # Safety
    ///
    /// Called by the VFS, once, for a file that [`create`] made.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: The table belongs to files that `create` made only.
        let id = unsafe { Self::id(file) };
        session::release(id);
        0
    }

    /// # Safety
    ///
    /// Called by procfs for a file that [`create`] made.
    unsafe extern "C" fn show_fdinfo(text: *mut bindings::seq_file, file: *mut bindings::file) {
        // SAFETY: The table belongs to files that `create` made only.
        let id = unsafe { Self::id(file) };
        // SAFETY: The text is valid and ours for the call.
        session::show(id, &unsafe { Text::from_raw(text) });
    }
}
