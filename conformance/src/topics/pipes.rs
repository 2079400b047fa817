// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pipes come back: both ends or one, with what they hold.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;

use anyhow::{Result, ensure};
use luo_sys::{Errno, Session, Token};
use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

use super::tools::{incoming, session};
use crate::case::{Case, Context, here, shared};
use crate::check::{device, kept, refused, same};
use crate::difference::{Differs, answers};
use crate::forge::{self, Fault, ODD};

/// Mainline has no handler that takes such a file.
const NONE: &[Differs] = &[answers(
    Errno::ENOENT,
    "mainline has handlers of memfds only",
)];

pub(super) const CASES: &[Case] = &[
    here("each-end-is-preserved-once", once).but(NONE),
    here("both-ends-go-into-one-session", one_session).but(NONE),
    here("taken-out-it-can-be-preserved-again", again).but(NONE),
    here("it-is-usable-while-it-is-preserved", usable).but(NONE),
    here("a-refused-kexec-leaves-it-as-it-is", vetoed).but(NONE),
    here("one-with-a-name-is-refused", named),
    shared("what-it-holds-comes-back", leave_text, text).but(NONE),
    shared("what-is-written-later-arrives", leave_late, late).but(NONE),
    shared("a-full-one-comes-back-full", leave_full, full).but(NONE),
    shared("packets-stay-packets", leave_packets, packets).but(NONE),
    shared("size-and-flags-stay", leave_large, large).but(NONE),
    shared("the-end-that-reads-alone", leave_reader, reader).but(NONE),
    shared("the-end-that-writes-alone", leave_writer, writer).but(NONE),
    shared("an-end-that-nobody-wants-is-closed", leave_text, unwanted).but(NONE),
    shared("the-other-end-can-come-first", leave_text, other_first).but(NONE),
];

const READ: Token = Token(1);
const WRITE: Token = Token(2);
const TEXT: &[u8] = b"what the pipe holds";

struct Ends {
    reads: File,
    writes: File,
}

/// A pipe whose ends do not wait.
fn pipe() -> Result<Ends> {
    let (reads, writes) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let (reads, writes) = (reads.into(), writes.into());
    Ok(Ends { reads, writes })
}

fn own() -> Result<Session> {
    session(&device()?, "pipes", 0)
}

/// All that a pipe holds, packet by packet.
fn drain(reads: &mut File) -> Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    let mut bytes = vec![0; 1 << 16];
    loop {
        match reads.read(&mut bytes) {
            Ok(0) => return Ok(all),
            Ok(count) => all.push(bytes[..count].to_vec()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(all),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Asserts that a pipe holds this and no more, and takes it out.
fn holds(reads: &mut File, text: &[u8]) -> Result<()> {
    same("what it holds", drain(reads)?, vec![text.to_vec()])
}

fn once(_: &mut Context<'_>) -> Result<()> {
    let (session, ends) = (own()?, pipe()?);
    session.preserve_fd(&ends.reads, READ)?;
    refused(session.preserve_fd(&ends.reads, WRITE), Errno::EBUSY)?;
    session.preserve_fd(&ends.writes, WRITE)?;
    refused(session.preserve_fd(&ends.writes, Token(3)), Errno::EBUSY)?;
    session.preserve_fd(pipe()?.reads, Token(3))?;
    Ok(())
}

fn one_session(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let (one, other) = (session(&device, "one", 0)?, session(&device, "other", 0)?);
    let ends = pipe()?;
    one.preserve_fd(&ends.reads, READ)?;
    refused(other.preserve_fd(&ends.writes, WRITE), Errno::EBUSY)?;
    one.preserve_fd(&ends.writes, WRITE)?;
    drop(one);
    other.preserve_fd(&ends.writes, WRITE)?;
    Ok(())
}

fn again(_: &mut Context<'_>) -> Result<()> {
    let mut ends = pipe()?;
    ends.writes.write_all(TEXT)?;
    for _ in 0..2 {
        let session = own()?;
        session.preserve_fd(&ends.writes, WRITE)?;
        session.preserve_fd(&ends.reads, READ)?;
        drop(session);
    }
    holds(&mut ends.reads, TEXT)
}

fn usable(_: &mut Context<'_>) -> Result<()> {
    let (session, mut ends) = (own()?, pipe()?);
    ends.writes.write_all(TEXT)?;
    session.preserve_fd(&ends.reads, READ)?;
    session.preserve_fd(&ends.writes, WRITE)?;
    holds(&mut ends.reads, TEXT)?;
    ends.writes.write_all(b"more")?;
    holds(&mut ends.reads, b"more")
}

fn vetoed(context: &mut Context<'_>) -> Result<()> {
    let (session, mut ends) = (own()?, pipe()?);
    session.preserve_fd(&ends.reads, READ)?;
    session.preserve_fd(&ends.writes, WRITE)?;
    session.preserve_fd(forge::open()?, Token(3))?;
    ends.writes.write_all(TEXT)?;
    let fault = Fault::Freeze(ODD).inject()?;
    same("the error", context.refused_kexec()?.errno(), ODD)?;
    drop(fault);
    holds(&mut ends.reads, TEXT)
}

fn named(_: &mut Context<'_>) -> Result<()> {
    let path = std::env::temp_dir().join(format!("luo-conformance-{}", std::process::id()));
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)?;
    let opened = rustix::fs::open(&path, OFlags::RDONLY | OFlags::NONBLOCK, mode);
    std::fs::remove_file(&path)?;
    refused(own()?.preserve_fd(opened?, READ), Errno::ENOENT)
}

/// Leaves both ends.
fn leave(context: &mut Context<'_>, ends: &Ends) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(&ends.reads, READ)?;
    session.preserve_fd(&ends.writes, WRITE)?;
    context.hold(session);
    Ok(())
}

/// Takes both ends back, and ends their session.
fn arrived(context: &mut Context<'_>) -> Result<Ends> {
    let session = incoming(context.own_name())?;
    let reads = session.retrieve_fd(READ)?.into();
    let writes = session.retrieve_fd(WRITE)?.into();
    session.finish()?;
    Ok(Ends { reads, writes })
}

fn leave_text(context: &mut Context<'_>) -> Result<()> {
    let mut ends = pipe()?;
    ends.writes.write_all(TEXT)?;
    leave(context, &ends)
}

fn text(context: &mut Context<'_>) -> Result<()> {
    let mut ends = arrived(context)?;
    kept(
        "what it holds",
        drain(&mut ends.reads)?,
        vec![TEXT.to_vec()],
    )?;
    ends.writes.write_all(b"more")?;
    same(
        "what comes after",
        drain(&mut ends.reads)?,
        vec![b"more".to_vec()],
    )?;
    drop(ends.writes);
    same("its end", ends.reads.read(&mut [0; 8])?, 0)
}

fn other_first(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let mut writes = File::from(session.retrieve_fd(WRITE)?);
    writes.write_all(b"!")?;
    let mut reads = File::from(session.retrieve_fd(READ)?);
    let expected = [TEXT, b"!"].concat();
    kept("what it holds", drain(&mut reads)?.concat(), expected)?;
    Ok(session.finish()?)
}

fn unwanted(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let mut reads = File::from(session.retrieve_fd(READ)?);
    kept("what it holds", drain(&mut reads)?, vec![TEXT.to_vec()])?;
    let empty = reads.read(&mut [0; 8]);
    ensure!(empty.is_err(), "nobody can write to it any more: {empty:?}");
    session.finish()?;
    same("its end", reads.read(&mut [0; 8])?, 0)
}

fn leave_late(context: &mut Context<'_>) -> Result<()> {
    let mut ends = pipe()?;
    ends.writes.write_all(b"gone")?;
    leave(context, &ends)?;
    drain(&mut ends.reads)?;
    ends.writes.write_all(TEXT)?;
    context.hold(ends);
    Ok(())
}

fn late(context: &mut Context<'_>) -> Result<()> {
    let mut ends = arrived(context)?;
    kept(
        "what it holds",
        drain(&mut ends.reads)?,
        vec![TEXT.to_vec()],
    )
}

/// As many bytes as it takes, none like its neighbours.
fn filled(ends: &mut Ends) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let next: Vec<u8> = (0..1000_usize)
            .map(|at| ((all.len() + at) % 251) as u8)
            .collect();
        match ends.writes.write(&next) {
            Ok(count) => all.extend(&next[..count]),
            Err(_) => return all,
        }
    }
}

fn leave_full(context: &mut Context<'_>) -> Result<()> {
    let mut ends = pipe()?;
    let all = filled(&mut ends);
    context.note("bytes", all.len() as u64);
    leave(context, &ends)
}

fn full(context: &mut Context<'_>) -> Result<()> {
    let length = usize::try_from(context.noted("bytes")?)?;
    let mut ends = arrived(context)?;
    let seen = drain(&mut ends.reads)?.concat();
    kept("how much it holds", seen.len(), length)?;
    let is_same = seen
        .iter()
        .enumerate()
        .all(|(at, byte)| *byte == (at % 251) as u8);
    ensure!(is_same, "its bytes are others");
    Ok(())
}

fn packet(number: u8) -> Vec<u8> {
    vec![number; if number == 2 { 4096 } else { number.into() }]
}

fn leave_packets(context: &mut Context<'_>) -> Result<()> {
    let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK | PipeFlags::DIRECT;
    let (reads, writes) = pipe_with(flags)?;
    let (reads, writes) = (reads.into(), writes.into());
    let mut ends = Ends { reads, writes };
    for number in 1..=5 {
        ends.writes.write_all(&packet(number))?;
    }
    leave(context, &ends)
}

fn packets(context: &mut Context<'_>) -> Result<()> {
    let mut ends = arrived(context)?;
    let expected: Vec<_> = (1..=5).map(packet).collect();
    kept("its packets", drain(&mut ends.reads)?, expected)?;
    ends.writes.write_all(b"one")?;
    ends.writes.write_all(b"two")?;
    let expected = vec![b"one".to_vec(), b"two".to_vec()];
    kept("packets afterwards", drain(&mut ends.reads)?, expected)
}

fn leave_large(context: &mut Context<'_>) -> Result<()> {
    let (reads, writes) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setpipe_size(&writes, 1 << 18)?;
    rustix::fs::fcntl_setfl(&writes, OFlags::NONBLOCK)?;
    let (reads, writes) = (reads.into(), writes.into());
    leave(context, &Ends { reads, writes })
}

fn large(context: &mut Context<'_>) -> Result<()> {
    let ends = arrived(context)?;
    kept("its size", fcntl_getpipe_size(&ends.reads)?, 1 << 18)?;
    let nonblock = |file: &File| -> Result<bool> {
        Ok(rustix::fs::fcntl_getfl(file)?.contains(OFlags::NONBLOCK))
    };
    kept("O_NONBLOCK of the writer", nonblock(&ends.writes)?, true)?;
    kept("O_NONBLOCK of the reader", nonblock(&ends.reads)?, false)
}

/// Leaves one end, and forgets the other.
fn leave_one(context: &mut Context<'_>, end: impl FnOnce(Ends) -> OwnedFd) -> Result<()> {
    let mut ends = pipe()?;
    ends.writes.write_all(TEXT)?;
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(end(ends), READ)?;
    context.hold(session);
    Ok(())
}

fn leave_reader(context: &mut Context<'_>) -> Result<()> {
    leave_one(context, |ends| ends.reads.into())
}

fn reader(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let mut reads = File::from(session.retrieve_fd(READ)?);
    kept("what it holds", drain(&mut reads)?, vec![TEXT.to_vec()])?;
    same("its end", reads.read(&mut [0; 8])?, 0)?;
    Ok(session.finish()?)
}

fn leave_writer(context: &mut Context<'_>) -> Result<()> {
    leave_one(context, |ends| ends.writes.into())
}

fn writer(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let mut writes = File::from(session.retrieve_fd(READ)?);
    let error = writes.write(b"x").err().map(|error| error.kind());
    same("a write", error, Some(std::io::ErrorKind::BrokenPipe))?;
    Ok(session.finish()?)
}
