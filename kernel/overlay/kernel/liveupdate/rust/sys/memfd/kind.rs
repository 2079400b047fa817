// SPDX-License-Identifier: GPL-2.0-only
//! How a memfd is told from other files.

use kernel::bindings;
use kernel::fs::File;
use luo_memfd::Format;

use crate::sys::handler_table::HandlerTable;

/// Whether a file is shared memory that has no name in a file system: a memfd, or as good
/// as one.
pub(crate) fn is_memfd(file: &File) -> bool {
    // SAFETY: The file is there for the call.
    unsafe { bindings::luo_memfd_is(file.as_ptr()) }
}

/// Whether a file is of huge pages and has no name: a memfd, or as good as one.
pub(crate) fn is_huge(file: &File) -> bool {
    // SAFETY: The file is there for the call.
    unsafe { bindings::luo_memfd_is_huge(file.as_ptr()) }
}

/// The table by which C code knows the handler with a format.
pub(crate) fn table(format: Format) -> Option<HandlerTable> {
    let at = Format::ALL.iter().position(|&of| of == format)?;
    // SAFETY: The array is static, and has one for each format.
    unsafe {
        HandlerTable::from_raw(
            (&raw mut bindings::luo_memfd_handlers)
                .cast::<bindings::liveupdate_file_handler>()
                .add(at),
        )
    }
}

/// Which object a file stands for: its inode.
pub(crate) fn object_id(file: &File) -> u64 {
    // SAFETY: An open file has an inode. Its address is not followed.
    unsafe { (*file.as_ptr()).f_inode as u64 }
}
