// SPDX-License-Identifier: GPL-2.0-only
//! Eventfds, for their handler.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::error::from_err_ptr;
use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::aref::ARef;

/// The count of an eventfd, and whether a read takes one of it; nothing of another file.
pub(crate) fn look(file: &File) -> Option<(u64, bool)> {
    let (mut count, mut semaphore) = (0, false);
    // SAFETY: The file is there for the call, and both results are valid for writes.
    unsafe { bindings::luo_eventfd_look(file.as_ptr(), &mut count, &mut semaphore) }
        .then_some((count, semaphore))
}

/// Makes an eventfd.
///
/// # Errors
/// ENOMEM, or those of making a file.
pub(crate) fn make(count: u64, nonblock: bool, semaphore: bool) -> Result<ARef<File>> {
    // SAFETY: Takes any values.
    let file = from_err_ptr(unsafe { bindings::luo_eventfd_make(count, nonblock, semaphore) })?;
    let file = NonNull::new(file).ok_or(ENOMEM)?;
    // SAFETY: The file is new: its one reference is ours, and nobody is in `fdget_pos` with it.
    Ok(unsafe { ARef::from_raw(file.cast()) })
}
