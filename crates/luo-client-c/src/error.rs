// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors: a number for the program, a message for people.

use core::cell::RefCell;
use core::ffi::{c_char, c_int};
use std::ffi::CString;

use luo_client::agent::{self, ErrorNumber};
use luo_client::kernel::{self, NameError};
use luo_client::memory;
use rustix::io::Errno;

/// Why a call fails.
#[derive(Debug)]
pub(crate) struct Failure {
    errno: i32,
    message: String,
}

/// The result of a call: a number that is not negative.
pub(crate) type Outcome = Result<c_int, Failure>;

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

impl Failure {
    pub(crate) fn new(errno: Errno, message: impl Into<String>) -> Self {
        Self {
            errno: errno.raw_os_error(),
            message: message.into(),
        }
    }

    /// Keeps the message for [`luo_last_error_message`]; gives the number, negative.
    pub(crate) fn report(self) -> c_int {
        let text: Vec<u8> = self.message.bytes().filter(|&byte| byte != 0).collect();
        let text = CString::new(text).unwrap_or_default();
        // This fails only while the thread ends, and then nobody reads the message.
        let _ = LAST.try_with(|last| *last.borrow_mut() = text);
        self.errno.saturating_neg()
    }
}

/// The message of the last call of this thread that failed, for people; empty if none
/// has. It is valid until the next call of this thread fails, or the thread ends.
#[unsafe(no_mangle)]
pub extern "C" fn luo_last_error_message() -> *const c_char {
    let last = LAST.try_with(|last| last.borrow().as_ptr());
    last.unwrap_or(c"".as_ptr())
}

impl From<kernel::Error> for Failure {
    fn from(error: kernel::Error) -> Self {
        Self {
            errno: error.errno().get(),
            message: error.to_string(),
        }
    }
}

impl<R: ErrorNumber> From<agent::Error<R>> for Failure {
    fn from(error: agent::Error<R>) -> Self {
        Self {
            errno: error.errno(),
            message: error.to_string(),
        }
    }
}

impl From<memory::Error> for Failure {
    fn from(error: memory::Error) -> Self {
        Self {
            errno: error.errno(),
            message: error.to_string(),
        }
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Self::new(Errno::INVAL, error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let errno = error.raw_os_error().filter(|&errno| errno > 0);
        Self {
            errno: errno.unwrap_or(Errno::IO.raw_os_error()),
            message: error.to_string(),
        }
    }
}
