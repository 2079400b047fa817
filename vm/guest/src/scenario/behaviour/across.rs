// SPDX-License-Identifier: MIT OR Apache-2.0
//! The other side of a kexec.

use std::fs::File;
use std::mem::size_of;
use std::os::unix::fs::FileExt;

use anyhow::{Result, ensure};
use luo_abi::uapi::{self, Finish, RetrieveFd, RetrieveSession};
use luo_sys::{Errno, Session, Token, raw};
use rustix::io::FdFlags;
use zerocopy::IntoBytes;

use super::Case;
use crate::check::{device, name, refused, same};
use crate::fill::{self, Prng};

/// Run in the second kernel. Each uses the session of its own name.
pub(super) const CASES: &[Case] = &[
    (
        "retrieve-session-survives-failed-answer",
        failed_answer_session,
    ),
    ("retrieve-fd-survives-failed-answer", failed_answer_fd),
    ("retrieve-session-twice-is-einval", session_twice),
    ("retrieve-fd-twice-is-the-same-file", fd_twice),
    ("retrieved-fd-is-close-on-exec", close_on_exec),
    ("retrieved-session-preserves-nothing", preserve_on_retrieved),
    ("finish-reserved-must-be-zero", finish_reserved),
    ("finish-keeps-the-retrieved", finish_keeps),
    ("close-finishes-half-retrieved", half_retrieved),
    ("unclaimed-name-can-be-created", unclaimed),
];

/// What the first kernel leaves: a session a case.
const SESSIONS: [&str; 10] = [
    "answer-session",
    "answer-fd",
    "twice",
    "fd-twice",
    "cloexec",
    "preserve",
    "reserved",
    "finish",
    "half",
    "unclaimed",
];

/// Memfds of each session; the token is the index.
const FILES: u64 = 2;
const LENGTH: u64 = 12_345;

fn contents(session: &str, token: u64) -> Prng {
    let session = session
        .bytes()
        .fold(0, |sum: u64, byte| sum * 31 + u64::from(byte));
    Prng::of(&[session, token])
}

/// Preserves what the cases of the next kernel need.
///
/// # Errors
/// If the kernel refuses any of it.
pub(super) fn leave() -> Result<Vec<Session>> {
    let device = device()?;
    let mut sessions = Vec::new();
    for session_name in SESSIONS {
        let session = device.create_session(&name(session_name))?;
        for token in 0..FILES {
            let file = fill::memfd("across", LENGTH, contents(session_name, token))?;
            session.preserve_fd(file, Token(token))?;
        }
        sessions.push(session);
    }
    Ok(sessions)
}

fn retrieve(session: &str) -> Result<Session> {
    Ok(device()?.retrieve_session(&name(session))?)
}

fn file(session: &Session, session_name: &str, token: u64) -> Result<File> {
    let file = File::from(session.retrieve_fd(Token(token))?);
    fill::verify(&file, LENGTH, contents(session_name, token))?;
    Ok(file)
}

fn failed_answer_session() -> Result<()> {
    let device = device()?;
    let argument = RetrieveSession {
        size: size_of::<RetrieveSession>() as u32,
        fd: 0,
        name: *name("answer-session").as_field(),
    };
    for _ in 0..2 {
        let result = raw::ioctl_read_only(&device, uapi::RETRIEVE_SESSION, argument.as_bytes());
        refused(result, Errno::EFAULT)?;
    }
    let session = device.retrieve_session(&name("answer-session"))?;
    for token in 0..FILES {
        file(&session, "answer-session", token)?;
    }
    Ok(session.finish()?)
}

fn failed_answer_fd() -> Result<()> {
    let session = retrieve("answer-fd")?;
    let argument = RetrieveFd {
        size: 16,
        fd: 0,
        token: 0,
    };
    for _ in 0..2 {
        let result = raw::ioctl_read_only(&session, uapi::SESSION_RETRIEVE_FD, argument.as_bytes());
        refused(result, Errno::EFAULT)?;
    }
    for token in 0..FILES {
        file(&session, "answer-fd", token)?;
    }
    Ok(session.finish()?)
}

fn session_twice() -> Result<()> {
    let device = device()?;
    let session = device.retrieve_session(&name("twice"))?;
    refused(device.retrieve_session(&name("twice")), Errno::EINVAL)?;
    file(&session, "twice", 0)?;
    Ok(session.finish()?)
}

fn fd_twice() -> Result<()> {
    let session = retrieve("fd-twice")?;
    let first = file(&session, "fd-twice", 0)?;
    let second = file(&session, "fd-twice", 0)?;
    first.write_all_at(b"one file", 4096)?;
    let mut bytes = [0; 8];
    second.read_exact_at(&mut bytes, 4096)?;
    same("what the other wrote", &bytes, b"one file")?;
    Ok(session.finish()?)
}

fn close_on_exec() -> Result<()> {
    let session = retrieve("cloexec")?;
    for flags in [
        rustix::io::fcntl_getfd(&session)?,
        rustix::io::fcntl_getfd(session.retrieve_fd(Token(0))?)?,
    ] {
        ensure!(flags.contains(FdFlags::CLOEXEC), "the flags are {flags:?}");
    }
    Ok(session.finish()?)
}

fn preserve_on_retrieved() -> Result<()> {
    let session = retrieve("preserve")?;
    let memory = fill::memfd("new", 4096, Prng::of(&[1]))?;
    refused(session.preserve_fd(&memory, Token(77)), Errno::EINVAL)?;
    Ok(session.finish()?)
}

fn finish_reserved() -> Result<()> {
    let session = retrieve("reserved")?;
    let mut argument = Finish {
        size: 8,
        reserved: 1,
    };
    let result = raw::ioctl(&session, uapi::SESSION_FINISH, argument.as_mut_bytes());
    refused(result, Errno::EINVAL)?;
    file(&session, "reserved", 1)?;
    Ok(session.finish()?)
}

fn finish_keeps() -> Result<()> {
    let session = retrieve("finish")?;
    let kept = file(&session, "finish", 0)?;
    session.finish()?;
    refused(session.retrieve_fd(Token(0)), Errno::ENOENT)?;
    drop(session);
    fill::verify(&kept, LENGTH, contents("finish", 0))?;
    kept.set_len(0)?;
    refused(device()?.retrieve_session(&name("finish")), Errno::ENOENT)
}

fn half_retrieved() -> Result<()> {
    let session = retrieve("half")?;
    let kept = file(&session, "half", 1)?;
    drop(session);
    fill::verify(&kept, LENGTH, contents("half", 1))?;
    let device = device()?;
    refused(device.retrieve_session(&name("half")), Errno::ENOENT)?;
    // What was retrieved is an ordinary memfd now.
    device
        .create_session(&name("half"))?
        .preserve_fd(&kept, Token(1))?;
    Ok(())
}

fn unclaimed() -> Result<()> {
    let device = device()?;
    let outgoing = device.create_session(&name("unclaimed"))?;
    let memory = fill::memfd("new", 4096, Prng::of(&[1]))?;
    outgoing.preserve_fd(&memory, Token(0))?;
    let incoming = device.retrieve_session(&name("unclaimed"))?;
    file(&incoming, "unclaimed", 0)?;
    Ok(incoming.finish()?)
}
