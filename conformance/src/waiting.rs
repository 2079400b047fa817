// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls that wait in the kernel, made in threads of their own, and how it is
//! seen from outside that they do.

use std::fs;
use std::os::fd::RawFd;
use std::sync::mpsc;
use std::thread::{Scope, ScopedJoinHandle};

use anyhow::{Context as _, Result, bail};

use crate::check::seen;
use crate::forge;
use crate::patience::until;

/// A system call, as far as it is recognised from outside.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    /// The ioctl of a number.
    Ioctl(u32),
    /// The close of a descriptor.
    Close(RawFd),
    /// A read from a descriptor.
    Read(RawFd),
}

impl Call {
    /// Whether a line of `/proc/PID/syscall` tells of it: the number of the
    /// system call and its arguments. There is only a word if the task runs.
    fn is(self, line: &str) -> bool {
        let (argument, expected) = match self {
            Self::Ioctl(command) => (2, u64::from(command)),
            // Both have it first.
            Self::Close(fd) | Self::Read(fd) => (1, u64::from(fd.unsigned_abs())),
        };
        let seen = line.split_whitespace().nth(argument);
        let seen = seen.and_then(|text| text.strip_prefix("0x"));
        seen.and_then(|text| u64::from_str_radix(text, 16).ok()) == Some(expected)
    }
}

/// Whether a task, by its number, sleeps in a call, which is not answered yet.
///
/// # Errors
/// If there is no such task.
pub fn sleeps_in(task: u32, call: Call) -> Result<bool> {
    let line = fs::read_to_string(format!("/proc/{task}/syscall"));
    let line = line.with_context(|| format!("task {task}"))?;
    Ok(call.is(&line) && forge::waits(task)?)
}

/// A thread that makes a call.
pub struct Caller<'scope, T> {
    task: u32,
    thread: ScopedJoinHandle<'scope, T>,
}

impl<'scope, T: Send + 'scope> Caller<'scope, T> {
    /// Makes a call in a thread of its own.
    ///
    /// # Errors
    /// If the thread does not begin.
    pub fn begin<'env>(
        scope: &'scope Scope<'scope, 'env>,
        call: impl FnOnce() -> T + Send + 'scope,
    ) -> Result<Self> {
        let (tell, told) = mpsc::channel();
        let thread = scope.spawn(move || {
            let task = rustix::thread::gettid().as_raw_nonzero().get();
            // If nobody listens, the case has failed already.
            let _ = tell.send(task.unsigned_abs());
            call()
        });
        let task = told.recv().context("the thread")?;
        Ok(Self { task, thread })
    }

    /// Waits until the call is seen to wait in the kernel.
    ///
    /// # Errors
    /// [`crate::check::Unseen`] if it has ended; if it never waits.
    pub fn waits_in(&self, call: Call) -> Result<()> {
        until("waiting", || {
            seen(!self.thread.is_finished(), "it did not wait")?;
            // Its task may have ended since.
            Ok(sleeps_in(self.task, call).unwrap_or(false))
        })
    }

    /// Whether the call has ended.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// What the call gave.
    ///
    /// # Errors
    /// If it does not end.
    pub fn outcome(self) -> Result<T> {
        until("the end of a call", || Ok(self.thread.is_finished()))?;
        match self.thread.join() {
            Ok(outcome) => Ok(outcome),
            Err(_) => bail!("the thread panicked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_recognised() {
        let line = "16 0x5 0xba00 0x7ffc 0x0 0x0 0x0 0x7ffd 0x7fee\n";
        assert!(Call::Ioctl(0xba00).is(line));
        assert!(!Call::Ioctl(0xba01).is(line));
        assert!(Call::Close(5).is(line));
        assert!(!Call::Close(3).is(line));
        assert!(!Call::Ioctl(0).is("running\n"));
    }

    #[test]
    fn a_thread_that_waits_is_seen() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        std::thread::scope(|scope| {
            let mut byte = [0];
            let fd = std::os::fd::AsRawFd::as_raw_fd(&reader);
            let call = move || rustix::io::read(&reader, &mut byte);
            let caller = Caller::begin(scope, call).unwrap();
            caller.waits_in(Call::Read(fd)).unwrap();
            drop(writer);
            assert_eq!(caller.outcome().unwrap(), Ok(0));
        });
    }
}
