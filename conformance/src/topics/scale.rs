// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many files at once.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Device, Errno, FileStatus, Needed, Session, SessionName, State, Token, memfd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::tools::{NO_DEPENDENCIES, enter, state_is};
use crate::case::{Case, Context, alone, here};
use crate::check::{device, name, refused, same, skip};
use crate::difference::missing;

/// Files of the chain: each needs the next.
const CHAIN: u64 = 10_000;

/// Dependencies that a file may have, and files that may need it.
const OF_A_FILE: u64 = 16_384;

/// Sessions that go over a kexec.
const SESSIONS: u64 = 10_000;

pub(super) const CASES: &[Case] = &[
    here("two-thousand-sessions-come-and-go", come_and_go),
    alone(
        "ten-thousand-sessions-come-back",
        &[leave_sessions, sessions],
    ),
    alone("ten-thousand-files-in-a-chain-come-back", &[leave, arrive])
        .but(&[missing(NO_DEPENDENCIES)]),
    here("one-dependency-too-many-is-enospc", one_too_many).but(&[missing(NO_DEPENDENCIES)]),
    here("one-dependent-too-many-is-enospc", one_too_many_need_it).but(&[missing(NO_DEPENDENCIES)]),
];

/// Lets this process have that many descriptors.
fn descriptors(wanted: u64) -> Result<()> {
    // A few are in use.
    let wanted = wanted + 100;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        return Err(skip(format!("ulimit -Hn is below {wanted}")));
    }
    let current = Some(wanted);
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).context("RLIMIT_NOFILE")
}

fn numbered(number: u64) -> SessionName {
    name(&format!("many-{number}"))
}

/// Both orders of leaving: last in first out, and first in first out.
fn come_and_go(_: &mut Context<'_>) -> Result<()> {
    const MANY: u64 = 2000;
    descriptors(MANY)?;
    let device = device()?;
    for round in 0..2 {
        let mut sessions = Vec::new();
        for number in 0..MANY {
            sessions.push(device.create_session(&numbered(number))?);
        }
        refused(device.create_session(&numbered(MANY - 1)), Errno::EEXIST)?;
        if round == 0 {
            sessions.reverse();
        }
        drop(sessions);
    }
    device.create_session(&numbered(0))?;
    Ok(())
}

/// Each hundredth has a file, which tells whether it is the right one.
const WITH_FILE: u64 = 100;

fn leave_sessions(context: &mut Context<'_>) -> Result<()> {
    descriptors(SESSIONS)?;
    let device = device()?;
    for number in 0..SESSIONS {
        let session = device.create_session(&numbered(number))?;
        if number % WITH_FILE == 0 {
            session.preserve_fd(numbered_file(number)?, Token(number))?;
        }
        context.hold(session);
    }
    Ok(())
}

fn numbered_file(number: u64) -> Result<File> {
    let file = memfd::create("numbered", size_of::<u64>() as u64)?;
    file.write_all_at(&number.to_ne_bytes(), 0)?;
    Ok(file)
}

/// In an order that is that of no list.
fn sessions(_: &mut Context<'_>) -> Result<()> {
    const STRIDE: u64 = 7919;
    let device = device()?;
    for index in 0..SESSIONS {
        let number = index * STRIDE % SESSIONS;
        let session = device.retrieve_session(&numbered(number))?;
        if number % WITH_FILE == 0 {
            whole(&session, number)?;
        }
        session.finish()?;
    }
    let any = device.retrieve_session(&numbered(0));
    refused(any, Errno::ENOENT)
}

fn fill(device: &Device) -> Result<Session> {
    let session = device.create_session(&name("chain"))?;
    for token in 0..CHAIN {
        let file = memfd::create("link", size_of::<u64>() as u64)?;
        file.write_all_at(&token.to_ne_bytes(), 0)?;
        session.preserve_fd(file, Token(token))?;
        if let Some(previous) = token.checked_sub(1) {
            session.add_dependency(Token(previous), Needed::Here(Token(token)))?;
        }
    }
    Ok(session)
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let session = fill(&device)?;
    enter(&device, State::Prepared)?;
    context.hold(session);
    Ok(())
}

/// One file and, behind it, one more than may be at the other end of its dependencies.
fn star() -> Result<Session> {
    let session = device()?.create_session(&name("star"))?;
    for token in 0..=OF_A_FILE + 1 {
        session.preserve_fd(memfd::create("star", 0)?, Token(token))?;
    }
    Ok(session)
}

fn one_too_many(_: &mut Context<'_>) -> Result<()> {
    let session = star()?;
    let needs = |token| session.add_dependency(Token(0), Needed::Here(Token(token)));
    for token in 1..=OF_A_FILE {
        needs(token)?;
    }
    refused(needs(OF_A_FILE + 1), Errno::ENOSPC)?;
    // There is room again when one goes, be it dropped or missing.
    session.drop_dependency(Token(0), Needed::Here(Token(1)))?;
    needs(OF_A_FILE + 1)?;
    session.unpreserve_fd(Token(2))?;
    refused(needs(1), Errno::ENOSPC)?;
    session.drop_dependency(Token(0), Needed::Here(Token(2)))?;
    Ok(needs(1)?)
}

fn one_too_many_need_it(_: &mut Context<'_>) -> Result<()> {
    let session = star()?;
    let is_needed_by = |token| session.add_dependency(Token(token), Needed::Here(Token(0)));
    for token in 1..=OF_A_FILE {
        is_needed_by(token)?;
    }
    refused(is_needed_by(OF_A_FILE + 1), Errno::ENOSPC)?;
    // A dependent that goes takes what it has declared along.
    session.unpreserve_fd(Token(1))?;
    Ok(is_needed_by(OF_A_FILE + 1)?)
}

/// The first file needs all others, so asking for it restores them.
fn arrive(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = device.retrieve_session(&name("chain"))?;
    session.retrieve_fd(Token(0))?;
    let files = session.list_files()?;
    same("the files", files.len() as u64, CHAIN)?;
    let left = files
        .iter()
        .find(|file| file.status != FileStatus::Retrieved);
    ensure!(left.is_none(), "it did not bring {left:?}");
    for token in 0..CHAIN {
        whole(&session, token).with_context(|| format!("token {token}"))?;
    }
    session.finish()?;
    state_is(&device, State::Normal)
}

fn whole(session: &Session, token: u64) -> Result<()> {
    let file = File::from(session.retrieve_fd(Token(token))?);
    let mut bytes = [0; size_of::<u64>()];
    file.read_exact_at(&mut bytes, 0)?;
    same("the contents", u64::from_ne_bytes(bytes), token)
}
