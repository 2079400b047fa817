// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arguments and results at the border to C, checked as far as they can be.

use core::ffi::{c_char, c_int, c_void};
use core::time::Duration;
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use luo_client::SessionName;
use rustix::io::Errno;

use crate::error::{Failure, Outcome};

/// Bytes of a session's name.
const MAX_NAME: usize = 63;

/// Runs a call, and keeps a panic from leaving it.
pub(crate) fn call(run: impl FnOnce() -> Outcome) -> c_int {
    // A panic leaves a half-done state behind a handle only, which the caller can free or
    // ask again. No unsafe code here relies on such a state being whole.
    let outcome = catch_unwind(AssertUnwindSafe(run));
    let outcome = outcome.unwrap_or_else(|_| {
        let message = "libluo_client has failed in itself; please report it";
        Err(Failure::new(Errno::IO, message))
    });
    outcome.unwrap_or_else(Failure::report)
}

fn bad_address(what: &str) -> Failure {
    Failure::new(
        Errno::FAULT,
        format!("{what} is a null or misaligned pointer"),
    )
}

/// A reference to the value that a pointer leads to.
///
/// # Safety
/// The rules of the crate.
pub(crate) unsafe fn shared<'a, T>(pointer: *const T, what: &str) -> Result<&'a T, Failure> {
    if !pointer.is_aligned() {
        return Err(bad_address(what));
    }
    // SAFETY: it is aligned, and by the rules null or leads to a `T` that nobody changes
    // during the call, which `'a` does not outlive.
    unsafe { pointer.as_ref() }.ok_or_else(|| bad_address(what))
}

/// A reference to the value that a pointer leads to, to be changed.
///
/// # Safety
/// The rules of the crate.
pub(crate) unsafe fn exclusive<'a, T>(pointer: *mut T, what: &str) -> Result<&'a mut T, Failure> {
    if !pointer.is_aligned() {
        return Err(bad_address(what));
    }
    // SAFETY: it is aligned, and by the rules null or leads to a `T` that nobody else
    // uses during the call, which `'a` does not outlive.
    unsafe { pointer.as_mut() }.ok_or_else(|| bad_address(what))
}

/// Room for a result, which may be uninitialized.
///
/// It is made before the work is done, so that no work is done whose result cannot be
/// stored.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Safety
    /// The rules of the crate.
    pub(crate) unsafe fn new(pointer: *mut T, what: &str) -> Result<Self, Failure> {
        if pointer.is_null() || !pointer.is_aligned() {
            return Err(bad_address(what));
        }
        Ok(Self(pointer))
    }

    pub(crate) fn set(self, value: T) {
        // SAFETY: `new` has found it aligned and not null, and its caller has vouched
        // that then it leads to room for a `T` for as long as the call takes.
        unsafe { self.0.write(value) }
    }
}

/// Frees a handle; null is none.
///
/// # Safety
/// The rules of the crate; and it was made by `Box::into_raw`.
pub(crate) unsafe fn free<T>(pointer: *mut T) {
    if pointer.is_null() {
        return;
    }
    // SAFETY: by the rules it is a handle that was made here, as a box, and that was not
    // freed; a caller that frees a handle does not use it any more.
    let freed = unsafe { Box::from_raw(pointer) };
    // A panic of a destructor does not go over the border either.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(freed)));
}

/// The bytes of a string, without its end; `most` at most.
///
/// # Safety
/// The rules of the crate.
pub(crate) unsafe fn bytes<'a>(
    pointer: *const c_char,
    most: usize,
    what: &str,
) -> Result<&'a [u8], Failure> {
    if pointer.is_null() {
        return Err(bad_address(what));
    }
    let mut length = 0;
    // SAFETY: by the rules there is a zero somewhere, and no byte was it so far: this
    // one belongs to the string.
    while unsafe { pointer.add(length).read() } != 0 {
        length += 1;
        if length > most {
            let message = format!("{what} has more than {most} bytes");
            return Err(Failure::new(Errno::INVAL, message));
        }
    }
    // SAFETY: these bytes were just read, and nobody changes them during the call.
    Ok(unsafe { core::slice::from_raw_parts(pointer.cast(), length) })
}

/// A string in UTF-8, of `most` bytes at most.
///
/// # Safety
/// The rules of the crate.
pub(crate) unsafe fn text<'a>(
    pointer: *const c_char,
    most: usize,
    what: &str,
) -> Result<&'a str, Failure> {
    // SAFETY: the caller's promise is the same.
    let bytes = unsafe { bytes(pointer, most, what) }?;
    core::str::from_utf8(bytes)
        .map_err(|_| Failure::new(Errno::INVAL, format!("{what} is not UTF-8")))
}

/// A session's name.
///
/// # Safety
/// The rules of the crate.
pub(crate) unsafe fn session_name(pointer: *const c_char) -> Result<SessionName, Failure> {
    // SAFETY: the caller's promise is the same.
    let bytes = unsafe { bytes(pointer, MAX_NAME, "the session's name") }?;
    Ok(SessionName::new(bytes)?)
}

/// An array of `count` elements, `most` at most. Of none, the pointer does not matter.
///
/// # Safety
/// The rules of the crate.
pub(crate) unsafe fn array<'a, T>(
    pointer: *const T,
    count: usize,
    most: usize,
    what: &str,
) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    if count > most {
        let message = format!("{what} has more than {most} elements");
        return Err(Failure::new(Errno::TOOBIG, message));
    }
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(bad_address(what));
    }
    // SAFETY: it is aligned and not null, and by the rules leads to `count` elements that
    // nobody changes during the call.
    Ok(unsafe { core::slice::from_raw_parts(pointer, count) })
}

/// Memory of the caller's to be filled. Of none, the pointer does not matter.
///
/// # Safety
/// The rules of the crate.
pub(crate) unsafe fn fill(to: *mut c_void, room: usize, from: &[u8]) -> Result<(), Failure> {
    if from.len() > room {
        let message = format!("the buffer has {room} bytes, and takes {}", from.len());
        return Err(Failure::new(Errno::RANGE, message));
    }
    if from.is_empty() {
        return Ok(());
    }
    if to.is_null() {
        return Err(bad_address("the buffer"));
    }
    // SAFETY: by the rules `to` leads to `room` bytes of the caller's, which are at least
    // as many as these, and these are ours: the two do not overlap.
    unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to.cast(), from.len()) };
    Ok(())
}

/// A copy of a descriptor of the caller's.
///
/// # Safety
/// The rules of the crate.
pub(crate) unsafe fn descriptor(fd: c_int) -> Result<OwnedFd, Failure> {
    if fd < 0 {
        return Err(Failure::new(Errno::BADF, format!("{fd} is no descriptor")));
    }
    // SAFETY: it is not -1, and by the rules open for the duration of the call, after
    // which only the copy is left. Were it not, the copy would fail with EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(borrowed.try_clone_to_owned()?)
}

/// Gives a descriptor to the caller.
pub(crate) fn give(fd: impl Into<OwnedFd>) -> c_int {
    fd.into().into_raw_fd()
}

/// A time of so many milliseconds; a negative number is no limit.
pub(crate) fn limit(milliseconds: i64) -> Option<Duration> {
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_panic_goes_over_the_border() {
        assert_eq!(call(|| panic!("of a test")), -5);
        assert_eq!(call(|| Ok(7)), 7);
    }

    #[test]
    fn a_negative_time_is_no_limit() {
        assert_eq!(limit(-1), None);
        assert_eq!(limit(i64::MIN), None);
        assert_eq!(limit(1500), Some(Duration::from_millis(1500)));
    }
}
