// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors of a thread's own.
//!
//! Whoever forks copies the descriptors of its whole process. Where the last close of
//! one has a meaning, a copy that lives between the fork and the exec of some other
//! thread's child is one too many.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Runs `run` on a thread with a table of descriptors of its own: what it, and the
/// threads that it starts, open and close is known to nobody else in this process. Of
/// this process's descriptors there are only the first three and `kept`, which can be
/// borrowed inside.
///
/// A value that owns a descriptor must be dropped on the side it was made on: on the
/// other one its number stands for something else, or for nothing.
///
/// # Errors
/// ENOMEM. A panic of `run` goes on in the caller.
pub fn with_own<T: Send>(
    kept: Option<BorrowedFd<'_>>,
    run: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, || {
            // SAFETY: from here on this thread's numbers are its own. Nothing in it owns
            // a descriptor yet but what `run` has captured, of which the caller has
            // promised that nothing is dropped here.
            if unsafe { libc::unshare(libc::CLONE_FILES) } != 0 {
                return Err(io::Error::last_os_error());
            }
            close_all_but(kept);
            Ok(run())
        })?;
        match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Closes copies in this thread's table that would keep others' pipes from ending.
fn close_all_but(kept: Option<BorrowedFd<'_>>) {
    const FIRST: libc::c_long = 3;
    let last = libc::c_long::from(u32::MAX);
    let kept = kept.map(|fd| libc::c_long::from(fd.as_raw_fd()));
    let ranges = match kept {
        Some(kept) if kept >= FIRST => [(FIRST, kept - 1), (kept + 1, last)],
        _ => [(FIRST, last), (FIRST, last)],
    };
    for (first, last) in ranges {
        if first <= last {
            // SAFETY: the numbers are of this thread's own table, in which nobody has
            // opened anything yet: the owners of these descriptors have them in theirs.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn what_is_opened_inside_is_not_seen_outside() {
        let kept = std::fs::File::open("/dev/null").unwrap();
        let number = with_own(Some(kept.as_fd()), || {
            let inside = crate::memfd::create("inside", 1).unwrap();
            // What is kept can be used.
            assert_eq!((&kept).read(&mut [0]).unwrap(), 0);
            let number = inside.as_raw_fd();
            assert!(std::fs::exists(format!("/proc/thread-self/fd/{number}")).unwrap());
            let link = std::fs::read_link(format!("/proc/self/fd/{number}"));
            !link.is_ok_and(|link| link.to_string_lossy().contains("inside"))
        });
        assert!(number.unwrap());
        assert_eq!((&kept).read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn pipes_of_others_end_when_those_close_them() {
        let (mut reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let ended = std::thread::scope(|scope| {
            let (inside, waits) = std::sync::mpsc::channel::<()>();
            let (begun, begins) = std::sync::mpsc::channel::<()>();
            let thread = scope.spawn(move || {
                with_own(None, move || {
                    begun.send(()).unwrap();
                    waits.recv().unwrap();
                })
            });
            begins.recv().unwrap();
            drop(writer);
            let ended = reader.read(&mut [0]).unwrap() == 0;
            inside.send(()).unwrap();
            thread.join().unwrap().unwrap();
            ended
        });
        assert!(ended);
    }
}
