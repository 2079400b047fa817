// SPDX-License-Identifier: MIT OR Apache-2.0
//! Both ends of a pipe go along, and come back with what it holds.

use std::fs::File;
use std::io::{Read as _, Write as _};

use anyhow::{Result, ensure};
use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

use super::super::tools::{incoming, session};
use super::ends::{Ends, READ, TEXT, WRITE, drain, pipe};
use crate::case::Context;
use crate::check::{kept, same};

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

pub(super) fn leave_text(context: &mut Context<'_>) -> Result<()> {
    let mut ends = pipe()?;
    ends.writes.write_all(TEXT)?;
    leave(context, &ends)
}

pub(super) fn text(context: &mut Context<'_>) -> Result<()> {
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

pub(super) fn other_first(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let mut writes = File::from(session.retrieve_fd(WRITE)?);
    writes.write_all(b"!")?;
    let mut reads = File::from(session.retrieve_fd(READ)?);
    let expected = [TEXT, b"!"].concat();
    kept("what it holds", drain(&mut reads)?.concat(), expected)?;
    Ok(session.finish()?)
}

pub(super) fn unwanted(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let mut reads = File::from(session.retrieve_fd(READ)?);
    kept("what it holds", drain(&mut reads)?, vec![TEXT.to_vec()])?;
    let empty = reads.read(&mut [0; 8]);
    ensure!(empty.is_err(), "nobody can write to it any more: {empty:?}");
    session.finish()?;
    same("its end", reads.read(&mut [0; 8])?, 0)
}

pub(super) fn leave_late(context: &mut Context<'_>) -> Result<()> {
    let mut ends = pipe()?;
    ends.writes.write_all(b"gone")?;
    leave(context, &ends)?;
    drain(&mut ends.reads)?;
    ends.writes.write_all(TEXT)?;
    context.hold(ends);
    Ok(())
}

pub(super) fn late(context: &mut Context<'_>) -> Result<()> {
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

pub(super) fn leave_full(context: &mut Context<'_>) -> Result<()> {
    let mut ends = pipe()?;
    let all = filled(&mut ends);
    context.note("bytes", all.len() as u64);
    leave(context, &ends)
}

pub(super) fn full(context: &mut Context<'_>) -> Result<()> {
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

pub(super) fn leave_packets(context: &mut Context<'_>) -> Result<()> {
    let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK | PipeFlags::DIRECT;
    let (reads, writes) = pipe_with(flags)?;
    let (reads, writes) = (reads.into(), writes.into());
    let mut ends = Ends { reads, writes };
    for number in 1..=5 {
        ends.writes.write_all(&packet(number))?;
    }
    leave(context, &ends)
}

pub(super) fn packets(context: &mut Context<'_>) -> Result<()> {
    let mut ends = arrived(context)?;
    let expected: Vec<_> = (1..=5).map(packet).collect();
    kept("its packets", drain(&mut ends.reads)?, expected)?;
    ends.writes.write_all(b"one")?;
    ends.writes.write_all(b"two")?;
    let expected = vec![b"one".to_vec(), b"two".to_vec()];
    kept("packets afterwards", drain(&mut ends.reads)?, expected)
}

pub(super) fn leave_large(context: &mut Context<'_>) -> Result<()> {
    let (reads, writes) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setpipe_size(&writes, 1 << 18)?;
    rustix::fs::fcntl_setfl(&writes, OFlags::NONBLOCK)?;
    let (reads, writes) = (reads.into(), writes.into());
    leave(context, &Ends { reads, writes })
}

pub(super) fn large(context: &mut Context<'_>) -> Result<()> {
    let ends = arrived(context)?;
    kept("its size", fcntl_getpipe_size(&ends.reads)?, 1 << 18)?;
    let nonblock = |file: &File| -> Result<bool> {
        Ok(rustix::fs::fcntl_getfl(file)?.contains(OFlags::NONBLOCK))
    };
    kept("O_NONBLOCK of the writer", nonblock(&ends.writes)?, true)?;
    kept("O_NONBLOCK of the reader", nonblock(&ends.reads)?, false)
}

/// Two threads ask for an end each, at once: it is one pipe.
pub(super) fn at_once(context: &mut Context<'_>) -> Result<()> {
    let session = &incoming(context.own_name())?;
    let (reads, writes) = std::thread::scope(|scope| {
        let [reads, writes] =
            [READ, WRITE].map(|token| scope.spawn(move || session.retrieve_fd(token)));
        let ended = |_| anyhow::anyhow!("the thread panicked");
        Ok::<_, anyhow::Error>((
            reads.join().map_err(ended)??,
            writes.join().map_err(ended)??,
        ))
    })?;
    let (mut reads, mut writes) = (File::from(reads), File::from(writes));
    writes.write_all(b"!")?;
    let expected = [TEXT, b"!"].concat();
    kept("what it holds", drain(&mut reads)?.concat(), expected)?;
    Ok(session.finish()?)
}
