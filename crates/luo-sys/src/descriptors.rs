// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors of a thread's own.
//!
//! Whoever forks copies the descriptors of its whole process. Where the last close of
//! one has a meaning, a copy that lives between the fork and the exec of some other
//! thread's child is one too many.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

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
/// The first descriptor that a service manager passes, see sd_listen_fds(3).
const FIRST_PASSED: RawFd = 3;

/// The most descriptors that a service manager is believed to pass.
const MOST_PASSED: u32 = 65_536;

/// Takes the descriptors that a service manager has passed to this process, with their
/// names: what `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` say. They are
/// close-on-exec from here on. Only the first call of a process gets any, and it should
/// be the first thing that the process does.
#[must_use]
pub fn passed() -> Vec<(String, OwnedFd)> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let is_ours = number("LISTEN_PID") == Some(std::process::id());
    if !is_ours || TAKEN.swap(true, Ordering::SeqCst) {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").unwrap_or(0).min(MOST_PASSED);
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut passed = Vec::new();
    for offset in 0..count as RawFd {
        let name = names.next().unwrap_or_default().to_owned();
        let fd = FIRST_PASSED + offset;
        // SAFETY: setting a flag of a number that is not open does no harm.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            continue;
        }
        // SAFETY: it is open, and `LISTEN_PID` says that it was passed to this very
        // process for it to own; nobody else owns it, for this runs once.
        passed.push((name, unsafe { OwnedFd::from_raw_fd(fd) }));
    }
    passed
}

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
