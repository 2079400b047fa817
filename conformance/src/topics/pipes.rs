// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pipes come back: both ends or one, with what they hold.

mod ends;
mod held;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Device, Errno, Session, State, Token};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{
    PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice,
};

use self::ends::Ends;
pub(super) use self::ends::{READ, WRITE, pipe};
use super::owners::{Quota, create};
use super::tools::{NO_CHOICE, NO_HANDLER, enter, incoming, session, state_is};
use crate::case::{Case, Context, alone, here, shared};
use crate::check::{device, kept, name, refused, same, seen, skip};
use crate::difference::{Expect, answers, simulated};
use crate::forge::{self, Fault, ODD};
use crate::user::{AllKinds, Delegated, USERS, as_user};

pub(super) const CASES: &[Case] = &[
    here("each-end-is-preserved-once", once).but(NO_HANDLER),
    here("both-ends-go-into-one-session", one_session).but(NO_HANDLER),
    here("taken-out-it-can-be-preserved-again", again).but(NO_HANDLER),
    here("it-is-usable-while-it-is-preserved", usable).but(NO_HANDLER),
    here("a-refused-kexec-leaves-it-as-it-is", vetoed).but(NO_HANDLER),
    here("a-cancelled-update-leaves-it-as-it-is", cancelled).but(NO_HANDLER),
    here("one-with-a-name-is-refused", named),
    here("one-with-more-than-its-size-is-refused", overfull).but(NO_HANDLER),
    here("one-of-notifications-is-refused", of_notifications).but(NO_HANDLER),
    here("one-with-a-page-that-never-comes-is-refused", never_comes).but(&[
        answers(Errno::ENOENT, "mainline has handlers of memfds only"),
        simulated(Expect::Unseen("its driver has no such pages")),
    ]),
    here(
        "a-writer-that-stands-still-holds-nobody-up",
        held::nobody_waits,
    )
    .but(NO_HANDLER),
    here("a-writer-of-a-users-is-passed-over", held::users).but(NO_CHOICE),
    here(
        "who-closes-an-end-waits-for-no-writer",
        held::closed_by_root,
    )
    .but(NO_CHOICE),
    here(
        "who-closes-an-end-waits-for-no-line-of-writers",
        held::closed_in_line,
    )
    .but(NO_CHOICE),
    alone(
        "a-busy-one-comes-along-beside-held-ones",
        &[held::leave_busy, held::busy],
    )
    .but(NO_CHOICE),
    here("what-it-may-hold-counts-for-its-user", counts).but(NO_CHOICE),
    shared("what-it-holds-comes-back", leave_text, text).but(NO_HANDLER),
    shared("what-is-written-later-arrives", leave_late, late).but(NO_HANDLER),
    shared("a-full-one-comes-back-full", leave_full, full).but(NO_HANDLER),
    shared("packets-stay-packets", leave_packets, packets).but(NO_HANDLER),
    shared("size-and-flags-stay", leave_large, large).but(NO_HANDLER),
    shared("the-end-that-reads-alone", leave_reader, reader).but(NO_HANDLER),
    shared("the-end-that-writes-alone", leave_writer, writer).but(NO_HANDLER),
    shared("an-end-that-nobody-wants-is-closed", leave_text, unwanted).but(NO_HANDLER),
    shared("the-other-end-can-come-first", leave_text, other_first).but(NO_HANDLER),
    shared("both-ends-can-come-at-once", leave_text, at_once).but(NO_HANDLER),
    shared("ends-of-different-owners-go-alone", leave_ends, alone_each).but(NO_CHOICE),
    shared(
        "a-size-that-its-user-may-not-have-waits",
        leave_huge,
        too_huge,
    )
    .but(NO_CHOICE),
];

const TEXT: &[u8] = b"what the pipe holds";

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

fn cancelled(_: &mut Context<'_>) -> Result<()> {
    let (session, mut ends) = (own()?, pipe()?);
    session.preserve_fd(&ends.reads, READ)?;
    session.preserve_fd(&ends.writes, WRITE)?;
    let device = device()?;
    enter(&device, State::Frozen)?;
    ends.writes.write_all(TEXT)?;
    device.cancel()?;
    state_is(&device, State::Normal)?;
    holds(&mut ends.reads, TEXT)
}

/// The end that is read from counts for a full pipe, and each for a page.
fn counts(_: &mut Context<'_>) -> Result<()> {
    let _delegated = Delegated::new()?;
    let _kinds = AllKinds::new()?;
    let ends = pipe()?;
    let size = fcntl_getpipe_size(&ends.reads)? as u64;
    let least = size + 4096;
    // Half of a tenth more, for what the records take.
    let _few = Quota::set("bytes", least + least / 10 + 3 * 4096)?;
    let session = create(USERS[0], "counts")?;
    session.preserve_fd(&ends.reads, READ)?;
    session.preserve_fd(&ends.writes, WRITE)?;
    refused(session.preserve_fd(pipe()?.reads, Token(3)), Errno::EDQUOT)?;
    let of = |token| -> Result<u64> {
        let files = session.list_files()?;
        let found = files.iter().find(|file| file.token == token);
        Ok(found.context("it is not listed")?.bytes)
    };
    ensure!(of(READ)? > least, "it counts for {} bytes", of(READ)?);
    same("the other end", of(WRITE)?, 4096)?;
    // As much as it may hold at the freeze.
    fcntl_setpipe_size(&ends.writes, 4096)?;
    let device = device()?;
    enter(&device, State::Frozen)?;
    device.cancel()?;
    ensure!(of(READ)? < size, "it still counts for {} bytes", of(READ)?);
    Ok(())
}

fn named(_: &mut Context<'_>) -> Result<()> {
    let path = std::env::temp_dir().join(format!("luo-conformance-{}", std::process::id()));
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)?;
    let opened = rustix::fs::open(&path, OFlags::RDONLY | OFlags::NONBLOCK, mode);
    std::fs::remove_file(&path)?;
    refused(own()?.preserve_fd(opened?, READ), Errno::ENOENT)
}

/// What a socket has is spliced into it in pieces that are larger than a page.
fn overfull(context: &mut Context<'_>) -> Result<()> {
    let session = own()?;
    let mut ends = pipe()?;
    session.preserve_fd(&ends.reads, READ)?;
    session.preserve_fd(&ends.writes, WRITE)?;
    let (mut from, to) = UnixStream::pair()?;
    let size = fcntl_getpipe_size(&ends.writes)?;
    from.write_all(&vec![7; 2 * size])?;
    drop(from);
    while splice(&to, None, &ends.writes, None, size, SpliceFlags::NONBLOCK).is_ok_and(|n| n > 0) {}
    let holds = rustix::io::ioctl_fionread(&ends.reads)?;
    if holds <= size as u64 {
        return Err(skip(
            "sockets here have no pieces that are larger than a page",
        ));
    }
    same("the error", context.refused_kexec()?.errno(), Errno::EFBIG)?;
    let device = device()?;
    enter(&device, State::Prepared)?;
    refused(device.freeze(), Errno::EFBIG)?;
    same("the file", device.failure()?.token, READ)?;
    session.unpreserve_fd(READ)?;
    refused(session.preserve_fd(&ends.reads, READ), Errno::EFBIG)?;
    same(
        "what it holds",
        drain(&mut ends.reads)?.concat().len(),
        holds as usize,
    )?;
    session.preserve_fd(&ends.reads, READ)?;
    enter(&device, State::Frozen)?;
    Ok(device.cancel()?)
}

/// One into which the kernel puts what it has to tell (`O_NOTIFICATION_PIPE`).
fn of_notifications(_: &mut Context<'_>) -> Result<()> {
    let flags = PipeFlags::from_bits_retain(OFlags::EXCL.bits()) | PipeFlags::CLOEXEC;
    let (reads, writes) = match pipe_with(flags) {
        Err(rustix::io::Errno::NOPKG) => return Err(skip("there are no such pipes here")),
        made => made?,
    };
    let session = own()?;
    for end in [reads, writes] {
        refused(session.preserve_fd(end, READ), Errno::EOPNOTSUPP)?;
    }
    Ok(session.preserve_fd(pipe()?.reads, READ)?)
}

/// A page of a file that is on its way: who reads it waits for it, or hears that it does not come.
fn never_comes(context: &mut Context<'_>) -> Result<()> {
    seen(
        context.implementation.is_kernel(),
        "the simulator's driver has no such pages",
    )?;
    let session = own()?;
    let ends = pipe()?;
    // Nobody looks through this one.
    session.preserve_fd(&ends.writes, WRITE)?;
    session.preserve_fd(&ends.reads, READ)?;
    let from = forge::open()?;
    let page = splice(&from, None, &ends.writes, None, 4096, SpliceFlags::NONBLOCK)?;
    same("bytes of the page", page, 4096)?;
    let device = device()?;
    enter(&device, State::Prepared)?;
    refused(device.freeze(), Errno::ENODATA)?;
    same("the file", device.failure()?.token, READ)?;
    session.unpreserve_fd(READ)?;
    refused(session.preserve_fd(&ends.reads, READ), Errno::ENODATA)?;
    enter(&device, State::Frozen)?;
    Ok(device.cancel()?)
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

/// Two threads ask for an end each, at once: it is one pipe.
fn at_once(context: &mut Context<'_>) -> Result<()> {
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

/// Of one pipe root preserves the end that reads, and a user the other, first.
fn leave_ends(context: &mut Context<'_>) -> Result<()> {
    let root = context.device()?;
    let _delegated = Delegated::new()?;
    let _kinds = AllKinds::new()?;
    let mut ends = pipe()?;
    ends.writes.write_all(TEXT)?;
    let [user, _] = USERS;
    let users = create(user, "an end")?;
    as_user(user, || Ok(users.preserve_fd(&ends.writes, WRITE)?))?;
    let own = session(&root, context.own_name(), 0)?;
    own.preserve_fd(&ends.reads, READ)?;
    context.hold(users);
    context.hold(own);
    Ok(())
}

fn alone_each(context: &mut Context<'_>) -> Result<()> {
    let own = incoming(context.own_name())?;
    let mut reads = File::from(own.retrieve_fd(READ)?);
    kept("what it holds", drain(&mut reads)?, vec![TEXT.to_vec()])?;
    same("its end", reads.read(&mut [0; 8])?, 0)?;
    own.finish()?;
    let _delegated = Delegated::new()?;
    let _kinds = AllKinds::new()?;
    as_user(USERS[0], || {
        let users = Device::open()?.retrieve_session(&name("an end"))?;
        let mut writes = File::from(users.retrieve_fd(WRITE)?);
        let error = writes.write(b"x").err().map(|error| error.kind());
        same("a write", error, Some(std::io::ErrorKind::BrokenPipe))?;
        // Whoever had that end alone has not read what the pipe held, and does not now.
        let path = format!("/proc/thread-self/fd/{}", writes.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Err(rustix::io::Errno::ACCESS) => {}
            anew => same("what it holds", drain(&mut File::from(anew?))?, vec![])?,
        }
        Ok(users.finish()?)
    })
}

/// Bytes that only the administrator may have in a pipe.
const HUGE: usize = 1 << 22;

/// Root has made it as large, and given it to a user.
fn leave_huge(context: &mut Context<'_>) -> Result<()> {
    let _root = context.device()?;
    let _delegated = Delegated::new()?;
    let _kinds = AllKinds::new()?;
    let mut ends = pipe()?;
    match fcntl_setpipe_size(&ends.writes, HUGE) {
        Err(rustix::io::Errno::PERM) => return Err(skip("whoever runs this may not have it")),
        made => made?,
    };
    ends.writes.write_all(TEXT)?;
    let [user, _] = USERS;
    let users = create(user, "huge")?;
    as_user(user, || {
        users.preserve_fd(&ends.reads, READ)?;
        Ok(users.preserve_fd(&ends.writes, WRITE)?)
    })?;
    context.hold(users);
    Ok(())
}

fn too_huge(_: &mut Context<'_>) -> Result<()> {
    let _delegated = Delegated::new()?;
    let _kinds = AllKinds::new()?;
    let [user, _] = USERS;
    let users = as_user(user, || {
        let users = Device::open()?.retrieve_session(&name("huge"))?;
        refused(users.retrieve_fd(READ), Errno::EPERM)?;
        refused(users.retrieve_fd(WRITE), Errno::EPERM)?;
        Ok(users)
    })?;
    // Nothing is lost: who may have it takes it back.
    let mut reads = File::from(users.retrieve_fd(READ)?);
    let writes = users.retrieve_fd(WRITE)?;
    kept("its size", fcntl_getpipe_size(&writes)?, HUGE)?;
    kept("what it holds", drain(&mut reads)?, vec![TEXT.to_vec()])?;
    Ok(users.finish()?)
}
