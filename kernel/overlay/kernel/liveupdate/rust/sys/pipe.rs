// SPDX-License-Identifier: GPL-2.0-only
//! Pipes, for their handler.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::error::to_result;
use kernel::ffi::{c_int, c_void};
use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use luo_abi::errno::Errno;
use luo_core::pipe::Each;

/// The pipe that a file is an end of, and whether it is the end that is written to.
pub(crate) fn find(file: &File) -> Option<(u64, bool)> {
    let (mut pipe, mut is_write) = (0, false);
    // SAFETY: The file is there for the call, and both results are valid for writes.
    unsafe { bindings::luo_pipe_find(file.as_ptr(), &mut pipe, &mut is_write) }
        .then_some((pipe, is_write))
}

/// Hands bytes to the closure of [`look`].
///
/// # Safety
///
/// `data` is a `&mut &mut Each` that nobody else uses; there are `length` bytes at `bytes`, which
/// nobody changes meanwhile but who has the page mapped.
unsafe extern "C" fn each(
    data: *mut c_void,
    bytes: *const c_void,
    length: usize,
    packet: bool,
) -> c_int {
    // SAFETY: By the caller's promise.
    let each = unsafe { &mut *data.cast::<&mut Each<'_>>() };
    // SAFETY: By the caller's promise. The bytes of a pipe are written once.
    let bytes = unsafe { core::slice::from_raw_parts(bytes.cast::<u8>(), length) };
    match each(bytes, packet) {
        Ok(()) => 0,
        Err(errno) => errno.to_ret(),
    }
}

/// Calls `work` with what a pipe holds; gives how much it may hold, in pages.
///
/// # Errors
/// EINVAL for another file; EOPNOTSUPP; those of `work`.
pub(crate) fn look(file: &File, mut work: &mut Each<'_>) -> Result<u64, Errno> {
    let mut slots = 0;
    let data = (&raw mut work).cast();
    // SAFETY: The file is there for the call, the number is valid for writes, and the pointer
    // is what the callback asks for.
    let done = unsafe { bindings::luo_pipe_look(file.as_ptr(), &mut slots, Some(each), data) };
    Errno::check(done)?;
    Ok(slots)
}

/// Makes an empty pipe: the end that is read from, and the other.
///
/// # Errors
/// ENOMEM; ENFILE; EPERM if the caller may not have one of that size.
pub(crate) fn make(slots: u64, packets: bool) -> Result<(ARef<File>, ARef<File>)> {
    let mut ends = [core::ptr::null_mut(); 2];
    // SAFETY: There is room for two.
    to_result(unsafe { bindings::luo_pipe_make(ends.as_mut_ptr(), slots, packets) })?;
    let [read, write] = ends.map(NonNull::new);
    let (read, write) = (read.ok_or(ENOMEM)?, write.ok_or(ENOMEM)?);
    // SAFETY: Both files are new: the one reference to each is ours, and nobody is in
    // `fdget_pos` with them.
    Ok(unsafe { (ARef::from_raw(read.cast()), ARef::from_raw(write.cast())) })
}

/// Puts bytes into a pipe that nobody else has.
///
/// # Errors
/// ENOMEM; EAGAIN if there is no room.
pub(crate) fn put(write: &File, bytes: &[u8], packet: bool) -> Result {
    // SAFETY: The file is there for the call, and so are the bytes. Nobody else changes its flags.
    to_result(unsafe {
        bindings::luo_pipe_put(write.as_ptr(), bytes.as_ptr().cast(), bytes.len(), packet)
    })
}

/// Sets `O_NONBLOCK`.
pub(crate) fn set_nonblock(file: &File) {
    // SAFETY: The file is there for the call.
    unsafe { bindings::luo_pipe_set_nonblock(file.as_ptr()) }
}
