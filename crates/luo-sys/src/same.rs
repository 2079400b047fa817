// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether two descriptors are one open file.

use std::os::fd::{AsFd, AsRawFd};

use crate::error::{Error, Result};

/// `KCMP_FILE` of `linux/kcmp.h`.
const KCMP_FILE: libc::c_long = 0;

/// Whether two descriptors of this thread stand for the same open file, as duplicates do. Threads
/// may have descriptors of their own.
///
/// # Errors
/// ENOSYS: the kernel was built without kcmp(2). EPERM: it is forbidden here.
pub fn open_file(one: impl AsFd, other: impl AsFd) -> Result<bool> {
    let number = |fd: libc::c_int| libc::c_long::from(fd);
    // SAFETY: gettid takes nothing and touches no memory.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    // SAFETY: kcmp compares numbers and touches no memory; the descriptors are open meanwhile.
    let order = unsafe {
        libc::syscall(
            libc::SYS_kcmp,
            thread,
            thread,
            KCMP_FILE,
            number(one.as_fd().as_raw_fd()),
            number(other.as_fd().as_raw_fd()),
        )
    };
    if order < 0 {
        return Err(Error::last("kcmp"));
    }
    Ok(order == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_the_same_and_others_are_not() {
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let duplicate = one.try_clone().unwrap();
        assert!(open_file(&one, &duplicate).unwrap());
        assert!(!open_file(&one, &other).unwrap());
        // A thread of which the descriptors are its own.
        let own = std::thread::spawn(move || {
            // SAFETY: unshare touches no memory. The thread has its descriptors from here on.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
            let duplicate = one.try_clone().unwrap();
            assert!(open_file(&one, &duplicate).unwrap());
            assert!(!open_file(&one, &other).unwrap());
        });
        own.join().unwrap();
    }
}
