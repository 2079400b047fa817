// SPDX-License-Identifier: GPL-2.0-only
//! Pipes, for their handler.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::error::to_result;
use kernel::ffi::c_void;
use kernel::fs::File;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use luo_abi::errno::Errno;
use luo_core::pipe::Each;

use super::memory;
use super::wait;

/// The pipe that a file is an end of, and whether it is the end that is written to.
pub(crate) fn find(file: &File) -> Option<(u64, bool)> {
    let (mut pipe, mut is_write) = (0, false);
    // SAFETY: The file is there for the call, and both results are valid for writes.
    unsafe { bindings::luo_pipe_find(file.as_ptr(), &mut pipe, &mut is_write) }
        .then_some((pipe, is_write))
}

/// How much a pipe may hold, in pages.
///
/// # Errors
/// EINVAL for another file; EOPNOTSUPP for a pipe of notifications.
pub(crate) fn slots(file: &File) -> Result<u64> {
    let mut slots = 0;
    // SAFETY: The file is there for the call, and the number is valid for writes.
    to_result(unsafe { bindings::luo_pipe_facts(file.as_ptr(), &mut slots) })?;
    Ok(slots)
}

/// A pipe that nobody else reads, writes or changes.
///
/// # Invariants
///
/// It is the pipe of the file that is locked, by this task.
struct Locked<'a>(&'a File);

impl<'a> Locked<'a> {
    /// Locks the pipe of a file, which is one. Waits for a moment, and for so many pauses at
    /// most, and takes those that it has waited.
    ///
    /// # Errors
    /// EBUSY at the end of them. That the task is killed does not end them.
    fn new(file: &'a File, patience: &mut u32) -> Result<Self, Errno> {
        // SAFETY: The file is there for the call.
        wait::patiently(patience, || unsafe {
            bindings::luo_pipe_trylock(file.as_ptr())
        })?;
        // INVARIANT: Just locked.
        Ok(Self(file))
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { bindings::luo_pipe_unlock(self.0.as_ptr()) }
    }
}

/// Hands bytes to the closure of [`look`].
///
/// # Safety
///
/// `data` is a `&mut &mut Each` that nobody else uses; there are `length` bytes at `bytes`, which
/// nobody changes meanwhile.
unsafe extern "C" fn each(data: *mut c_void, bytes: *const c_void, length: usize, packet: bool) {
    // SAFETY: By the caller's promise.
    let each = unsafe { &mut *data.cast::<&mut Each<'_>>() };
    // SAFETY: By the caller's promise.
    let bytes = unsafe { core::slice::from_raw_parts(bytes.cast::<u8>(), length) };
    each(bytes, packet);
}

/// Calls `work` with what a pipe holds; gives how much it may hold, in pages. Takes from the
/// patience how many pauses it has waited for who has the pipe locked.
///
/// # Errors
/// EINVAL for another file; EBUSY at the end of the patience; ENODATA, EOPNOTSUPP,
/// EHWPOISON for what cannot be read; ENOMEM.
pub(crate) fn look(file: &File, patience: &mut u32, mut work: &mut Each<'_>) -> Result<u64, Errno> {
    if find(file).is_none() {
        return Err(Errno::EINVAL);
    }
    // Of what is looked at one page at a time is copied here, where nobody changes it.
    let mut room = KVec::<u8>::with_capacity(PAGE_SIZE, memory::flags());
    let room = room.as_mut().map_err(|_| Errno::ENOMEM)?;
    let room = room.spare_capacity_mut().as_mut_ptr().cast();
    let _locked = Locked::new(file, patience)?;
    let mut slots = 0;
    let data = (&raw mut work).cast();
    // SAFETY: The file is there for the call, its pipe is locked, the number is valid for
    // writes, the room has a page that nobody else refers to, and the last pointer is what the
    // callback asks for.
    let done =
        unsafe { bindings::luo_pipe_look(file.as_ptr(), &mut slots, room, Some(each), data) };
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

/// Gives an end of a pipe up. Nobody waits for who has the pipe locked.
pub(crate) fn let_go(file: ARef<File>) {
    // SAFETY: The reference goes to the callee.
    unsafe { bindings::luo_pipe_let_go(ARef::into_raw(file).as_ptr().cast()) }
}
