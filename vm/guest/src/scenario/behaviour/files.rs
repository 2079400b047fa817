// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be preserved, and what not.

use std::fs::File;
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use luo_abi::uapi::{self, PreserveFd};
use luo_sys::{Device, Errno, Session, Token, raw};
use rustix::event::{EventfdFlags, epoll};
use rustix::fs::{Mode, OFlags};
use zerocopy::IntoBytes;

use super::Case;
use crate::check::{device, name, refused, same};
use crate::fill::{self, Prng};

/// See the names.
pub(super) const CASES: &[Case] = &[
    ("token-taken-is-eexist", token_taken),
    ("token-is-per-session", token_per_session),
    ("memfd-twice-is-ebusy", memfd_twice),
    ("memfd-in-two-sessions-is-ebusy", memfd_in_two_sessions),
    ("fd-not-open-is-ebadf", not_open),
    ("fd-of-path-is-ebadf", path_only),
    ("fd-unsupported-is-enoent", unsupported),
    ("fd-linked-tmpfs-file-is-enoent", linked),
    ("fd-session-is-enoent", session_itself),
    ("fd-device-is-enoent", device_itself),
    ("memfd-stays-writable", stays_writable),
    ("preserve-is-undone-after-failed-answer", failed_answer),
    ("preserve-works-after-a-refusal", after_refusal),
];

fn memory() -> Result<File> {
    fill::memfd("files", 8192, Prng::of(&[8192]))
}

fn session() -> Result<Session> {
    Ok(device()?.create_session(&name("files"))?)
}

fn token_taken() -> Result<()> {
    let session = session()?;
    session.preserve_fd(memory()?, Token(1))?;
    refused(session.preserve_fd(memory()?, Token(1)), Errno::EEXIST)?;
    session.preserve_fd(memory()?, Token(2))?;
    Ok(())
}

fn token_per_session() -> Result<()> {
    let device = device()?;
    for index in ["one", "two"] {
        let session = device.create_session(&name(index))?;
        session.preserve_fd(memory()?, Token(0))?;
        session.preserve_fd(memory()?, Token(u64::MAX))?;
    }
    Ok(())
}

fn memfd_twice() -> Result<()> {
    let (session, memory) = (session()?, memory()?);
    session.preserve_fd(&memory, Token(1))?;
    refused(session.preserve_fd(&memory, Token(2)), Errno::EBUSY)?;
    // A second descriptor, and a second open file, of the same memory.
    refused(
        session.preserve_fd(memory.try_clone()?, Token(2)),
        Errno::EBUSY,
    )
}

fn memfd_in_two_sessions() -> Result<()> {
    let (device, memory) = (device()?, memory()?);
    let first = device.create_session(&name("first"))?;
    let second = device.create_session(&name("second"))?;
    first.preserve_fd(&memory, Token(1))?;
    refused(second.preserve_fd(&memory, Token(1)), Errno::EBUSY)?;
    drop(first);
    second.preserve_fd(&memory, Token(1))?;
    Ok(())
}

fn not_open() -> Result<()> {
    let session = session()?;
    for fd in [-1, 999_999, i32::MIN] {
        let mut argument = PreserveFd {
            size: 16,
            fd,
            token: 1,
        };
        let result = raw::ioctl(&session, uapi::SESSION_PRESERVE_FD, argument.as_mut_bytes());
        refused(result, Errno::EBADF).with_context(|| format!("descriptor {fd}"))?;
    }
    Ok(())
}

fn path_only() -> Result<()> {
    let path = rustix::fs::open("/tmp", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    refused(session()?.preserve_fd(path, Token(1)), Errno::EBADF)
}

fn unsupported() -> Result<()> {
    let session = session()?;
    let (reader, writer) = rustix::pipe::pipe()?;
    let eventfd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let null = File::open("/dev/null")?;
    let directory = File::open("/tmp")?;
    let proc = File::open("/proc/self/status")?;
    for (what, fd) in [
        ("/dev/null", null.as_fd()),
        ("a directory", directory.as_fd()),
        ("a file of /proc", proc.as_fd()),
        ("a pipe's reading end", reader.as_fd()),
        ("a pipe's writing end", writer.as_fd()),
        ("an eventfd", eventfd.as_fd()),
        ("an epoll instance", epoll.as_fd()),
    ] {
        refused(session.preserve_fd(fd, Token(1)), Errno::ENOENT).context(what)?;
    }
    Ok(())
}

fn linked() -> Result<()> {
    const PATH: &str = "/tmp/linked";
    let file = File::create(PATH)?;
    let result = refused(session()?.preserve_fd(&file, Token(1)), Errno::ENOENT);
    std::fs::remove_file(PATH)?;
    result
}

fn session_itself() -> Result<()> {
    let device = device()?;
    let session = device.create_session(&name("self"))?;
    let other = device.create_session(&name("other"))?;
    refused(session.preserve_fd(&session, Token(1)), Errno::ENOENT)?;
    refused(session.preserve_fd(&other, Token(1)), Errno::ENOENT)
}

fn device_itself() -> Result<()> {
    let device: Device = device()?;
    let session = device.create_session(&name("device"))?;
    refused(session.preserve_fd(&device, Token(1)), Errno::ENOENT)
}

fn stays_writable() -> Result<()> {
    use std::os::unix::fs::FileExt;
    let (session, memory) = (session()?, memory()?);
    session.preserve_fd(&memory, Token(1))?;
    memory.write_all_at(b"still", 4096)?;
    let mut bytes = [0; 5];
    memory.read_exact_at(&mut bytes, 4096)?;
    same("what was written", &bytes, b"still")?;
    anyhow::ensure!(memory.set_len(0).is_err(), "it could be truncated");
    anyhow::ensure!(memory.set_len(1 << 20).is_err(), "it could be enlarged");
    Ok(())
}

/// The caller never learns that a file was preserved, so it must not be.
fn failed_answer() -> Result<()> {
    use std::os::fd::AsRawFd;
    let (session, memory) = (session()?, memory()?);
    let argument = PreserveFd {
        size: 16,
        fd: memory.as_raw_fd(),
        token: 1,
    };
    let result = raw::ioctl_read_only(&session, uapi::SESSION_PRESERVE_FD, argument.as_bytes());
    refused(result, Errno::EFAULT)?;
    memory.set_len(16_384).context("it is still preserved")?;
    session.preserve_fd(&memory, Token(1))?;
    Ok(())
}

fn after_refusal() -> Result<()> {
    let session = session()?;
    refused(
        session.preserve_fd(File::open("/dev/null")?, Token(1)),
        Errno::ENOENT,
    )?;
    session.preserve_fd(memory()?, Token(1))?;
    Ok(())
}
