// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a session preserves, and what not.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, ensure};
use luo_abi::uapi::{self, PreserveFd};
use luo_sys::{Errno, MappedFile, Session, Token, raw};
use rustix::event::epoll;
use rustix::fs::{FallocateFlags, Mode, OFlags};
use zerocopy::IntoBytes;

use super::tools::{is_free, is_held, memory, session};
use crate::case::{Case, Context, here};
use crate::check::{device, refused, refused_file, same};
use crate::difference::answers;

pub(super) const CASES: &[Case] = &[
    here("a-token-belongs-to-its-session", tokens),
    here("a-memfd-is-preserved-once", once),
    here("another-open-file-is-the-same-memfd", other_open_file),
    here("a-memfd-is-in-one-session", one_session),
    here("bad-descriptors-are-ebadf", bad_descriptors),
    here("other-files-are-enoent", unsupported),
    here("a-file-with-a-name-is-enoent", linked),
    here("a-session-is-enoent", session_itself),
    here("the-device-is-enoent", device_itself),
    here("what-is-preserved-can-be-written", stays_writable),
    here("what-is-preserved-keeps-its-size", keeps_its_size),
    here("held-still", held_still),
    here("a-failed-answer-preserves-nothing", failed_answer)
        .but(&[answers(Errno::EEXIST, "mainline keeps the file preserved")]),
    here("a-refusal-leaves-no-trace", after_refusal),
];

fn own() -> Result<Session> {
    session(&device()?, "preserve", 0)
}

fn tokens(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let sessions = [session(&device, "one", 0)?, session(&device, "two", 0)?];
    for session in &sessions {
        for token in [0, 1, u64::MAX] {
            session.preserve_fd(memory("tokens", token)?, Token(token))?;
            let other = memory("tokens", token)?;
            refused(session.preserve_fd(other, Token(token)), Errno::EEXIST)?;
        }
    }
    Ok(())
}

fn once(_: &mut Context<'_>) -> Result<()> {
    let (session, file) = (own()?, memory("once", 1)?);
    session.preserve_fd(&file, Token(1))?;
    refused(session.preserve_fd(&file, Token(2)), Errno::EBUSY)?;
    let again = session.preserve_fd(file.try_clone()?, Token(2));
    refused(again, Errno::EBUSY)
}

fn other_open_file(_: &mut Context<'_>) -> Result<()> {
    let (session, file) = (own()?, memory("other", 1)?);
    session.preserve_fd(&file, Token(1))?;
    let other = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    refused(session.preserve_fd(other, Token(2)), Errno::EBUSY)
}

fn one_session(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let (first, second) = (session(&device, "one", 0)?, session(&device, "two", 0)?);
    let file = memory("one", 1)?;
    first.preserve_fd(&file, Token(1))?;
    refused(second.preserve_fd(&file, Token(1)), Errno::EBUSY)?;
    drop(first);
    Ok(second.preserve_fd(&file, Token(1))?)
}

fn bad_descriptors(_: &mut Context<'_>) -> Result<()> {
    let session = own()?;
    for fd in [-1, 999_999, i32::MIN] {
        let mut argument = PreserveFd {
            size: size_of::<PreserveFd>() as u32,
            fd,
            token: 1,
        };
        let result = raw::ioctl(&session, uapi::SESSION_PRESERVE_FD, argument.as_mut_bytes());
        refused(result, Errno::EBADF).with_context(|| format!("descriptor {fd}"))?;
    }
    let path = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    refused(session.preserve_fd(path, Token(1)), Errno::EBADF).context("a descriptor of a path")
}

fn unsupported(_: &mut Context<'_>) -> Result<()> {
    let session = own()?;
    let (socket, _other) = std::os::unix::net::UnixStream::pair()?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let null = File::open("/dev/null")?;
    let directory = File::open("/")?;
    let proc = File::open("/proc/self/status")?;
    for (what, fd) in [
        ("/dev/null", null.as_fd()),
        ("a directory", directory.as_fd()),
        ("a file of /proc", proc.as_fd()),
        ("a socket", socket.as_fd()),
        ("an epoll instance", epoll.as_fd()),
    ] {
        refused(session.preserve_fd(fd, Token(1)), Errno::ENOENT).context(what)?;
    }
    Ok(())
}

/// Only what has no name in any folder can be preserved.
fn linked(_: &mut Context<'_>) -> Result<()> {
    let name = format!("luo-conformance-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let file = File::create_new(&path)?;
    let result = refused(own()?.preserve_fd(&file, Token(1)), Errno::ENOENT);
    std::fs::remove_file(&path)?;
    result
}

fn session_itself(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let (own, other) = (session(&device, "one", 0)?, session(&device, "two", 0)?);
    refused(own.preserve_fd(&own, Token(1)), Errno::ENOENT)?;
    refused(own.preserve_fd(&other, Token(1)), Errno::ENOENT)
}

fn device_itself(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "device", 0)?;
    refused(session.preserve_fd(&device, Token(1)), Errno::ENOENT)
}

fn stays_writable(_: &mut Context<'_>) -> Result<()> {
    let (session, file) = (own()?, memory("writable", 1)?);
    session.preserve_fd(&file, Token(1))?;
    file.write_all_at(b"still", 4096)?;
    let mut bytes = [0; 5];
    file.read_exact_at(&mut bytes, 4096)?;
    same("what was written", &bytes, b"still")
}

fn keeps_its_size(_: &mut Context<'_>) -> Result<()> {
    let (session, file) = (own()?, memory("size", 1)?);
    session.preserve_fd(&file, Token(1))?;
    for length in [0, 4096, 1 << 20] {
        ensure!(file.set_len(length).is_err(), "its size is {length} now");
    }
    drop(session);
    is_free(&file)
}

/// Nothing is taken out of it, and it does not grow, however somebody tries; what is in it can be
/// written, and its size can be set to what it is.
fn held_still(context: &mut Context<'_>) -> Result<()> {
    const PAGE: u64 = 4096;
    let file = luo_sys::memfd::create("still", 4 * PAGE)?;
    file.write_all_at(&[7; 2 * PAGE as usize], 0)?;
    let mapped = MappedFile::new(&file, 4 * PAGE as usize)?;
    let session = own()?;
    session.preserve_fd(&file, Token(1))?;
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let fallocate = |flags, at| {
        let done = rustix::fs::fallocate(&file, flags, at, PAGE);
        done.map_err(std::io::Error::from)
    };
    let all = [
        ("a hole", punch, 0),
        ("memory", FallocateFlags::empty(), 2 * PAGE),
        ("memory beyond the end", FallocateFlags::KEEP_SIZE, 4 * PAGE),
        ("a longer file", FallocateFlags::empty(), 4 * PAGE),
    ];
    for (what, flags, at) in all {
        refused_file(fallocate(flags, at), Errno::EPERM).context(what)?;
    }
    file.set_len(4 * PAGE).context("the size that it has")?;
    // The simulator sees calls, and neither what is written nor what a mapping is advised of.
    if context.implementation.is_kernel() {
        refused(mapped.remove(0, PAGE as usize), Errno::EPERM).context("a balloon")?;
        let beyond = file.write_all_at(&[1; 16], 4 * PAGE - 8);
        refused_file(beyond, Errno::EPERM).context("writing beyond the end")?;
        let mut appends = &OpenOptions::new()
            .append(true)
            .open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        refused_file(appends.write_all(b"more"), Errno::EPERM).context("appending")?;
    }
    same("the size", file.metadata()?.len(), 4 * PAGE)?;
    for page in [0, 3] {
        file.write_all_at(&[8; 8], page * PAGE)?;
        mapped.store((page * PAGE) as usize + 8, 9)?;
    }
    let mut seen = [0; PAGE as usize];
    file.read_exact_at(&mut seen, PAGE)?;
    ensure!(seen == [7; PAGE as usize], "its second page is another");
    // With its session, as mainline knows no other way.
    drop(session);
    fallocate(punch, 0)?;
    mapped.remove(PAGE as usize, PAGE as usize)?;
    Ok(file.set_len(PAGE)?)
}

/// The caller never learns that a file was preserved, so it must not be.
fn failed_answer(_: &mut Context<'_>) -> Result<()> {
    let (session, file) = (own()?, memory("answer", 1)?);
    let argument = PreserveFd {
        size: size_of::<PreserveFd>() as u32,
        fd: file.as_raw_fd(),
        token: 1,
    };
    let result = raw::ioctl_read_only(&session, uapi::SESSION_PRESERVE_FD, argument.as_bytes());
    refused(result, Errno::EFAULT)?;
    session.preserve_fd(&file, Token(1))?;
    drop(session);
    is_free(&file)
}

fn after_refusal(_: &mut Context<'_>) -> Result<()> {
    let (session, file) = (own()?, memory("refusal", 1)?);
    let null = File::open("/dev/null")?;
    refused(session.preserve_fd(null, Token(1)), Errno::ENOENT)?;
    session.preserve_fd(&file, Token(1))?;
    refused(session.preserve_fd(&file, Token(2)), Errno::EBUSY)?;
    refused(
        session.preserve_fd(memory("refusal", 2)?, Token(1)),
        Errno::EEXIST,
    )?;
    is_held(&file)?;
    Ok(session.preserve_fd(memory("refusal", 3)?, Token(2))?)
}
