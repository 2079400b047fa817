// SPDX-License-Identifier: MIT OR Apache-2.0
//! Standard output, of which nothing is lost without a word.
//!
//! Rust's own takes whatever is written to a descriptor that is closed, or not open for writing,
//! as written; and its runtime opens `/dev/null` in the place of a standard descriptor that is
//! closed when a process starts. A command whose output goes nowhere would say that all is well.

use core::sync::atomic::{AtomicBool, Ordering};
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};

use rustix::io::Errno;

/// Whether standard output was closed when this process was started.
static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Runs before Rust's runtime does anything.
// SAFETY: the section holds pointers to functions that the C library calls with its arguments
// before main, and this is one; `look` takes none of them, which the C calling convention allows.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    // SAFETY: this reads a flag of a number, and fails if nothing is open under it. Nothing of
    // Rust's runtime is used, which has not begun.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
    WAS_CLOSED.store(flags < 0, Ordering::Relaxed);
}

/// Standard output: a descriptor of its own, without a buffer.
///
/// # Errors
/// EBADF: it was closed when this process was started. As fcntl(2) says.
pub fn output() -> io::Result<File> {
    if WAS_CLOSED.load(Ordering::Relaxed) {
        return Err(Errno::BADF.into());
    }
    let copy = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 0)?;
    Ok(File::from(copy))
}

/// Writes a text to it. A reader that has closed its pipe has read enough.
///
/// # Errors
/// As [`output`] and write(2) say.
pub fn write(text: &str) -> io::Result<()> {
    let written = output().and_then(|mut to| to.write_all(text.as_bytes()));
    match written {
        Err(why) if why.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
