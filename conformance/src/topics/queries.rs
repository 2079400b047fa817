// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the orchestrator says when it is asked.

use core::mem::size_of;
use std::fs::File;

use anyhow::{Context as _, Result, ensure};
use luo_abi::contract::{self, FileInfo, List, SessionInfo};
use luo_abi::handover::{COMPATIBLE, MAX_FILES_PER_SESSION, MAX_SESSIONS};
use luo_abi::supplement::{self, MAX_SUBSYSTEMS};
use luo_sys::raw::{self, Target};
use luo_sys::{
    Cause, Device, Direction, Errno, FileEntry, FileStatus, Needed, ParticipantKind, SessionState,
    State, Token, Which,
};
use zerocopy::FromBytes;

use super::tools::{
    LENGTH, NO_CONTRACT, NO_RFC, enter, incoming, memory, retrieve, session, state_is, verify,
};
use crate::case::{Case, Context, alone, here, shared};
use crate::check::{device, name, refused, same};
use crate::difference::{absent, missing};
use crate::forge::{self, Fault, HANDLER, ODD};
use crate::look;

pub(super) const CASES: &[Case] = &[
    here("files-of-a-session", files).but(&[missing(NO_CONTRACT)]),
    here("files-page-by-page", pages).but(&[missing(NO_CONTRACT)]),
    here("a-cursor-that-is-gone-is-estale", stale).but(&[missing(NO_CONTRACT)]),
    here("entries-of-another-size", entry_size).but(&[missing(NO_CONTRACT)]),
    here("odd-list-arguments-are-einval", odd).but(&[missing(NO_CONTRACT)]),
    here("entries-nowhere-are-efault", nowhere).but(&[missing(NO_CONTRACT)]),
    here("sessions-outgoing", outgoing).but(&[missing(NO_CONTRACT)]),
    here("participants", participants).but(&[missing(NO_CONTRACT)]),
    here("info", info).but(&[missing(NO_CONTRACT)]),
    here("failure-begins-with-none", failure).but(&[missing(NO_CONTRACT)]),
    shared("files-that-arrived", leave_files, arrived).but(&[missing(NO_CONTRACT)]),
    here("device-files-that-are-new-did-not-arrive", not_arrived).but(&[missing(NO_CONTRACT)]),
    shared(
        "device-files-that-arrived",
        leave_registered,
        registered_arrived,
    )
    .but(&[missing(NO_RFC)]),
    shared(
        "device-files-that-arrived-page-by-page",
        leave_many,
        many_arrived,
    )
    .but(&[missing(NO_RFC)]),
    shared(
        "device-files-that-failed-to-arrive",
        leave_failing,
        failed_to_arrive,
    )
    .but(&[missing(NO_RFC)]),
    shared("sessions-incoming", leave_sessions, sessions_arrived).but(&[missing(NO_CONTRACT)]),
    shared("bytes-cross-the-kexec", leave_bytes, bytes).but(&[missing(NO_CONTRACT)]),
    alone("counts-while-updated", &[leave_counted, counted])
        .but(&[absent("mainline has no folder in sysfs")]),
];

/// The order is that of preservation.
fn files(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "files", 1)?;
    session.preserve_fd(forge::open()?, Token(u64::MAX))?;
    session.preserve_fd(memory("files", 0)?, Token(0))?;
    let files = session.list_files()?;
    let tokens: Vec<_> = files.iter().map(|file| file.token.0).collect();
    same("the tokens", tokens, vec![1, u64::MAX, 0])?;
    let handlers: Vec<_> = files.iter().map(|file| file.handler.as_str()).collect();
    same(
        "the handlers",
        handlers,
        vec!["memfd-v2", HANDLER, "memfd-v2"],
    )?;
    for file in &files {
        same("the status", file.status, FileStatus::Preserved)?;
        same("the error", file.error, None)?;
    }
    // What a memfd keeps are whole pages; the driver does not say.
    let pages = LENGTH.next_multiple_of(4096);
    same("bytes", files[0].bytes, pages)?;
    same("bytes", files[1].bytes, 0)
}

/// An argument that asks for up to `capacity` entries.
fn list(capacity: u32, entry_size: u32) -> List {
    List {
        size: size_of::<List>() as u32,
        flags: 0,
        cursor: 0,
        entries: 0,
        entry_size,
        capacity,
        count: 0,
        reserved: 0,
        total: 0,
        token: 0,
    }
}

const FILE: u32 = size_of::<FileInfo>() as u32;

fn call(target: &impl Target, command: u32, argument: &mut List) -> Result<Vec<u8>> {
    let length = argument.capacity as usize * argument.entry_size as usize;
    let mut entries = vec![0xaa; length];
    raw::list(target, command, argument, &mut entries)?;
    Ok(entries)
}

fn file_at(entries: &[u8], index: usize, entry_size: usize) -> Result<FileInfo> {
    let bytes = entries.get(index * entry_size..).context("too short")?;
    let (info, _) = FileInfo::read_from_prefix(bytes).map_err(|_| anyhow::anyhow!("too short"))?;
    Ok(info)
}

fn pages(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "pages", 5)?;
    session.list_files()?;
    let mut argument = list(2, FILE);
    let mut tokens = Vec::new();
    for expected in [2, 2, 1] {
        let entries = call(&session, contract::LIST_FILES, &mut argument)?;
        same("the count", argument.count, expected)?;
        same("the total", argument.total, 5)?;
        for index in 0..expected as usize {
            tokens.push(file_at(&entries, index, FILE as usize)?.token);
        }
        same("whether it ends", argument.cursor == 0, expected == 1)?;
    }
    same("the tokens", tokens, vec![1, 2, 3, 4, 5])?;
    // Nothing asked for is a way to ask for the total.
    let mut argument = list(0, FILE);
    call(&session, contract::LIST_FILES, &mut argument)?;
    same("the count", (argument.count, argument.total), (0, 5))
}

/// A list goes on behind the last entry that was given. Others may go meanwhile,
/// that one may not.
fn stale(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "stale", 4)?;
    session.list_files()?;
    let mut argument = list(1, FILE);
    call(&session, contract::LIST_FILES, &mut argument)?;
    session.unpreserve_fd(Token(2))?;
    let entries = call(&session, contract::LIST_FILES, &mut argument)?;
    same("the token", file_at(&entries, 0, FILE as usize)?.token, 3)?;
    session.unpreserve_fd(Token(3))?;
    let mut entries = [0; FILE as usize];
    let result = raw::list(&session, contract::LIST_FILES, &mut argument, &mut entries);
    refused(result, Errno::ESTALE)?;
    same("files", session.list_files()?.len(), 2)
}

fn entry_size(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "entries", 2)?;
    session.list_files()?;
    // A program that is newer than the kernel finds zeros in what is new to it.
    let mut argument = list(2, FILE + 16);
    let entries = call(&session, contract::LIST_FILES, &mut argument)?;
    for index in 0..2 {
        let file = file_at(&entries, index, FILE as usize + 16)?;
        same("the token", file.token, index as u64 + 1)?;
        let end = (index + 1) * (FILE as usize + 16);
        same("the rest", &entries[end - 16..end], &[0; 16])?;
    }
    for short in [0, 8, FILE - 8] {
        let mut argument = list(2, short);
        let result = raw::list(&session, contract::LIST_FILES, &mut argument, &mut []);
        refused(result, Errno::EINVAL).with_context(|| format!("entries of {short} bytes"))?;
    }
    Ok(())
}

fn odd(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "odd", 1)?;
    session.list_files()?;
    let files = list(1, FILE);
    for (what, mut argument) in [
        ("flags", List { flags: 1, ..files }),
        (
            "reserved",
            List {
                reserved: 1,
                ..files
            },
        ),
        ("a token", List { token: 1, ..files }),
    ] {
        let result = raw::list(&session, contract::LIST_FILES, &mut argument, &mut []);
        refused(result, Errno::EINVAL).context(what)?;
    }
    let sessions = list(1, size_of::<SessionInfo>() as u32);
    for flags in [4, 7, 1 << 31] {
        let mut argument = List { flags, ..sessions };
        let result = raw::list(&device, contract::LIST_SESSIONS, &mut argument, &mut []);
        refused(result, Errno::EINVAL).with_context(|| format!("flags {flags}"))?;
    }
    Ok(())
}

fn nowhere(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "nowhere", 1)?;
    session.list_files()?;
    let mut argument = list(1, FILE);
    let bytes = zerocopy::IntoBytes::as_mut_bytes(&mut argument);
    let result = raw::ioctl(&session, contract::LIST_FILES, bytes);
    refused(result, Errno::EFAULT)
}

fn outgoing(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    same("sessions", device.list_sessions(Which::All)?.len(), 0)?;
    let _first = session(&device, "first", 2)?;
    let _second = session(&device, "second", 0)?;
    let listed = device.list_sessions(Which::Outgoing)?;
    let names: Vec<_> = listed.iter().map(|session| session.name).collect();
    same(
        "names",
        names,
        vec![Some(name("first")), Some(name("second"))],
    )?;
    for entry in &listed {
        same("the direction", entry.direction, Direction::Outgoing)?;
        same("the state", entry.state, SessionState::Open)?;
        ensure!(!entry.of_device, "they have names");
    }
    same("files", (listed[0].files, listed[1].files), (2, 0))?;
    let pages = 2 * LENGTH.next_multiple_of(4096);
    same("bytes", listed[0].bytes, pages)?;
    same("incoming", device.list_sessions(Which::Incoming)?.len(), 0)?;
    let token = device.fd_preserve(memory("first", 3)?)?;
    let listed = device.list_sessions(Which::All)?;
    same("sessions", listed.len(), 3)?;
    let own = listed.iter().find(|session| session.of_device);
    let own = own.context("the device's own files are in no session")?;
    let generated = own.name.context("without a name")?.to_string();
    ensure!(generated.starts_with("liveupdate-device:"), "{generated}");
    same("its files", own.files, 1)?;
    Ok(device.fd_unpreserve(token)?)
}

fn participants(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "participants", 2)?;
    let files = |wanted: &str| -> Result<u64> {
        let all = device.list_participants()?;
        let handler = all
            .into_iter()
            .find(|entry| entry.name == wanted && entry.kind == ParticipantKind::FileHandler);
        Ok(handler
            .with_context(|| format!("{wanted} is not listed"))?
            .files)
    };
    same("memfds", files("memfd-v2")?, 2)?;
    if forge::open().is_ok() {
        same("forge files", files(HANDLER)?, 0)?;
    }
    drop(session);
    same("memfds", files("memfd-v2")?, 0)
}

fn info(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let info = device.info()?;
    same("the state", info.state, Some(State::Normal))?;
    for (seen, expected) in [
        (&info.handover_abi, &COMPATIBLE[..]),
        (&info.supplement_abi, &supplement::COMPATIBLE),
    ] {
        let expected = String::from_utf8_lossy(expected);
        same("the format", seen.as_str(), expected.trim_end_matches('\0'))?;
    }
    ensure!(!info.implementation.is_empty(), "it has no name");
    same(
        "sessions",
        u64::from(info.max_sessions),
        MAX_SESSIONS as u64,
    )?;
    let files = u64::from(info.max_files_per_session);
    same("files a session", files, MAX_FILES_PER_SESSION as u64)?;
    ensure!(info.max_records > 0, "no records");
    same("subsystems", info.max_subsystems as usize, MAX_SUBSYSTEMS)?;
    let all = contract::FEATURE_RFC
        | contract::FEATURE_DEPENDENCIES
        | contract::FEATURE_SUBSYSTEMS
        | contract::FEATURE_CARRY
        | contract::FEATURE_POLL
        | contract::FEATURE_ACCESS_MODE;
    same("the features", info.features & all, all)?;
    let openers = info.features & contract::FEATURE_MANY_OPENERS;
    same("many openers", openers, 0)?;
    let session = session(&device, "info", 2)?;
    let now = device.info()?;
    same("outgoing", now.outgoing, info.outgoing + 1)?;
    same("files", now.files, info.files + 2)?;
    drop(session);
    same("outgoing", device.info()?.outgoing, info.outgoing)
}

/// Before anything has failed there is nothing to tell; other cases may have
/// been here, so the count decides.
fn failure(_: &mut Context<'_>) -> Result<()> {
    let failure = device()?.failure()?;
    let none = failure.sequence == 0;
    same("the cause", failure.cause == Cause::None, none)?;
    same("the error", failure.error.is_none(), none)
}

fn leave_files(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, "list-arrived", 2)?;
    session.list_files()?;
    context.hold(session);
    Ok(())
}

fn arrived(_: &mut Context<'_>) -> Result<()> {
    let session = incoming("list-arrived")?;
    let statuses = || -> Result<Vec<_>> {
        let files = session.list_files()?.into_iter();
        Ok(files.map(|file| (file.token.0, file.status)).collect())
    };
    let (incoming, retrieved) = (FileStatus::Incoming, FileStatus::Retrieved);
    same("before", statuses()?, vec![(1, incoming), (2, incoming)])?;
    retrieve(&session, "list-arrived", 2)?;
    same("after", statuses()?, vec![(1, incoming), (2, retrieved)])?;
    Ok(session.finish()?)
}

fn not_arrived(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    same("files", device.list_arrived_files()?.len(), 0)?;
    device.fd_preserve(memory("new", 1)?)?;
    same("files", device.list_arrived_files()?.len(), 0)?;
    same("files", device.list_files()?.len(), 1)
}

/// The files of other cases arrive on the device, too.
fn arrived_under(device: &Device, token: Token) -> Result<FileEntry> {
    let files = device.list_arrived_files()?;
    let found = files.into_iter().find(|file| file.token == token);
    found.with_context(|| format!("{token} is not listed"))
}

fn leave_registered(context: &mut Context<'_>) -> Result<()> {
    let device = context.device()?;
    let needs = device.fd_preserve(memory("device-arrived", 1)?)?;
    let needed = device.fd_preserve(memory("device-arrived", 2)?)?;
    device.add_dependency(needs, Needed::Here(needed))?;
    context.note("needs", needs.0);
    context.note("needed", needed.0);
    Ok(())
}

/// The open of the device is another one: what arrived belongs to no open of it.
fn registered_arrived(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let needs = Token(context.noted("needs")?);
    let needed = Token(context.noted("needed")?);
    for (token, dependencies, dependents) in [(needs, 1, 0), (needed, 0, 1)] {
        let file = arrived_under(&device, token)?;
        same("the status", file.status, FileStatus::Incoming)?;
        same("the error", file.error, None)?;
        same("the handler", file.handler.as_str(), "memfd-v2")?;
        same("bytes", file.bytes, LENGTH.next_multiple_of(4096))?;
        let counts = (file.dependencies, file.dependents);
        same("the dependencies", counts, (dependencies, dependents))?;
    }
    same("files", device.list_files()?.len(), 0)?;
    // What it needs is restored with it, and still to be had.
    let file = File::from(device.fd_restore(needs)?);
    verify(&file, "device-arrived", 1)?;
    for token in [needs, needed] {
        let file = arrived_under(&device, token)?;
        same("the status", file.status, FileStatus::Retrieved)?;
    }
    let file = File::from(device.fd_restore(needed)?);
    verify(&file, "device-arrived", 2)
}

fn leave_many(context: &mut Context<'_>) -> Result<()> {
    let device = context.device()?;
    for number in 1..=3 {
        device.fd_preserve(memory("device-pages", number)?)?;
    }
    Ok(())
}

/// The pages together are the list, and a newer program's entries end in zeros.
fn many_arrived(_: &mut Context<'_>) -> Result<()> {
    const LONGER: u32 = FILE + 80;
    let device = device()?;
    let whole: Vec<_> = device.list_arrived_files()?;
    ensure!(whole.len() >= 3, "only {} are listed", whole.len());
    let asked = |capacity, entry_size| List {
        flags: contract::LIST_INCOMING,
        ..list(capacity, entry_size)
    };
    let mut argument = asked(2, LONGER);
    let mut tokens = Vec::new();
    loop {
        let entries = call(&device, contract::LIST_FILES, &mut argument)?;
        same("the total", argument.total, whole.len() as u64)?;
        for index in 0..argument.count as usize {
            let size = LONGER as usize;
            tokens.push(Token(file_at(&entries, index, size)?.token));
            let rest = &entries[index * size + FILE as usize..(index + 1) * size];
            same("the rest", rest, &[0; 80])?;
        }
        let left = whole.len() - tokens.len();
        same("whether it ends", argument.cursor == 0, left == 0)?;
        if left == 0 {
            break;
        }
        same("the count", argument.count, 2)?;
    }
    let expected: Vec<_> = whole.iter().map(|file| file.token).collect();
    same("the tokens", tokens, expected)?;
    let mut argument = asked(0, FILE);
    call(&device, contract::LIST_FILES, &mut argument)?;
    let counted = (argument.count, argument.total);
    same("the count", counted, (0, whole.len() as u64))
}

fn leave_failing(context: &mut Context<'_>) -> Result<()> {
    let token = context.device()?.fd_preserve(forge::open()?)?;
    context.note("token", token.0);
    Ok(())
}

fn failed_to_arrive(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let token = Token(context.noted("token")?);
    let file = arrived_under(&device, token)?;
    same("the status", file.status, FileStatus::Incoming)?;
    same("the handler", file.handler.as_str(), HANDLER)?;
    let fault = Fault::Retrieve(ODD).inject()?;
    refused(device.fd_restore(token), ODD)?;
    drop(fault);
    let file = arrived_under(&device, token)?;
    same("the status", file.status, FileStatus::Failed)?;
    same("the error", file.error, Some(ODD))
}

fn leave_sessions(context: &mut Context<'_>) -> Result<()> {
    let device = context.device()?;
    device.list_sessions(Which::All)?;
    context.hold(session(&device, "query-incoming", 2)?);
    Ok(())
}

fn sessions_arrived(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let find = || look::session(&device, Which::Incoming, "query-incoming");
    let entry = find()?.context("it is not listed")?;
    same("the direction", entry.direction, Direction::Incoming)?;
    same("the state", entry.state, SessionState::Unclaimed)?;
    same("the files", entry.files, 2)?;
    let session = device.retrieve_session(&name("query-incoming"))?;
    let entry = find()?.context("it is not listed")?;
    same("the state", entry.state, SessionState::Claimed)?;
    session.finish()?;
    ensure!(find()?.is_none(), "it is finished and listed");
    Ok(())
}

fn leave_bytes(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, "query-bytes", 1)?;
    context.note("bytes", session.list_files()?[0].bytes);
    context.hold(session);
    Ok(())
}

fn bytes(context: &mut Context<'_>) -> Result<()> {
    let session = incoming("query-bytes")?;
    let bytes = session.list_files()?[0].bytes;
    same("bytes", bytes, context.noted("bytes")?)?;
    Ok(session.finish()?)
}

fn leave_counted(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    look::sysfs("state")?;
    state_is(&device, State::Normal)?;
    context.hold(session(&device, "first", 2)?);
    context.hold(session(&device, "second", 1)?);
    enter(&device, State::Prepared)
}

/// Claimed and unclaimed are counted apart.
fn counted(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let counts = || -> Result<_> {
        let info = device.info()?;
        Ok((info.incoming, info.unclaimed, info.files))
    };
    same("the counts", counts()?, (2, 2, 3))?;
    let first = device.retrieve_session(&name("first"))?;
    same("the counts", counts()?, (2, 1, 3))?;
    first.finish()?;
    same("the counts", counts()?, (1, 1, 1))?;
    device.finish_update()?;
    same("the counts", counts()?, (0, 0, 0))
}
