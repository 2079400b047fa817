// SPDX-License-Identifier: MIT OR Apache-2.0
//! Further programs beside [`super::evil`], each with one way to hurt, which would keep the
//! attacks of that one from being seen.
//!
//! | part | what it does |
//! |---|---|
//! | [`HOLDS`] | it has sessions of the administrator's, makes one miss a file, and hangs in a call on another |
//! | [`HOLDS_FROZEN`] | as that once the machine is frozen; and it closes a third |
//! | [`SHARES`] | it has descriptors of a timer and a pipe of the administrator's, and makes of them what cannot go |
//! | [`SHARES_FROZEN`] | as that once the machine is frozen |
//! | [`NUMBERS`] | as many users, by one descriptor that all have inherited, make as many sessions as they can |
//! | [`IS_FULL`] | its control group is full, and it takes back what needs another's |
//! | [`COSTLY`] | its threads make calls that look at as much as a user's calls can |
//! | [`BARE`] | as that, of user 0 without capabilities |
//! | [`COSTLY_AFTER`] | as [`COSTLY`] in the next kernel |
//! | [`READS`] | its threads read what the kernel tells everybody; it has never had the device |
//! | [`super::idle::IDLE`], [`super::idle::LEAVES`], [`super::idle::AFTER`] | as [`COSTLY`], by threads for which others of its own leave no processor ([`super::idle`]) |
//! | [`super::neighbour::CALLS`] | it behaves, and stands in the same line as [`COSTLY`] ([`super::neighbour`]) |
//! | [`super::lines::LEFT`], [`super::lines::LEAVES`], [`super::lines::AFTER`] | its writers stand in lines for pipes ([`super::lines`]) |
//! | [`super::ends::LEAVES`], [`super::ends::AFTER`] | it has sessions of which it takes nothing back, and ends them in a full group ([`super::ends`]) |

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use luo_conformance::user::as_user;
use luo_sys::{Device, Errno, Needed, Session, State, Token, Which, memfd};

use super::evil::{LET_THROUGH, NEEDY, TRIED};
use super::inherited::taken;
use super::small::OfEachKind;
use crate::check::name;
use crate::program::{PAUSE, READY, stay, wait_to_go, wait_to_go_as};

pub(super) const HOLDS: &str = "holds";
pub(super) const HOLDS_FROZEN: &str = "holds-frozen";
pub(super) const SHARES: &str = "shares";
pub(super) const SHARES_FROZEN: &str = "shares-frozen";
pub(super) const NUMBERS: &str = "numbers";
pub(super) const IS_FULL: &str = "is-full";
pub(super) const COSTLY: &str = "costly";
pub(super) const BARE: &str = "bare";
pub(super) const COSTLY_AFTER: &str = "costly-after";
pub(super) const READS: &str = "reads";
pub(super) const READS_ALONE: &str = "reads-alone";

/// Users of [`NUMBERS`]: as of a range of /etc/subuid.
const FIRST_NUMBER: u32 = 200_000;
const HOW_MANY: u32 = 12;

/// Files of each of the two sets of [`COSTLY`]: a file needs all of its set that come before it.
/// The dependencies of both are nearly all that a user may have.
const SET: u64 = 126;
/// Threads that make costly calls: so many that each of them before who behaves would be too many.
const THREADS: usize = 256;
/// Threads that read.
pub(super) const READERS: usize = 512;
/// The session with a file that all files of [`COSTLY`] need.
const BASE: &str = "costly-base";

fn next<T>(fds: &mut impl Iterator<Item = OwnedFd>, from: fn(OwnedFd) -> T) -> Result<T> {
    fds.next().map(from).context("a descriptor is missing")
}

pub(super) fn holds(frozen: bool) -> Result<()> {
    let mut fds = taken()?;
    let device = Device::open()?;
    let misses = next(&mut fds, Session::from_fd)?;
    let hangs = next(&mut fds, Session::from_fd)?;
    let closes = next(&mut fds, Session::from_fd)?;
    let file = next(&mut fds, File::from)?;
    println!("{READY}");
    while frozen && device.state()? != State::Frozen {
        device.wait_for_change(PAUSE)?;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0_u64.. {
                misses_one(&misses, round);
            }
        });
        if frozen {
            drop(closes);
        } else {
            // Closed with the program.
            core::mem::forget(closes);
        }
        if !frozen {
            wait_to_go();
        }
        // A call that does not end before the program does.
        scope.spawn(|| hangs.preserve_fd(&file, Token(1)));
    });
    Ok(())
}

/// A file of the session needs another that is not there any more.
fn misses_one(session: &Session, round: u64) {
    let file = || memfd::create("misses", 4096);
    let (needs, gone) = (Token(2 * round + 10), Token(2 * round + 11));
    for token in [needs, gone] {
        let _ = file().map(|file| session.preserve_fd(file, token));
    }
    let _ = session.add_dependency(needs, Needed::Here(gone));
    let missing = session.unpreserve_fd(gone).is_ok();
    if round == 0 {
        println!("{TRIED}to miss a file: {missing}");
    }
    // Long enough for an event to meet it.
    std::thread::sleep(10 * PAUSE);
    let _ = session.unpreserve_fd(needs);
}

pub(super) fn numbers() -> Result<()> {
    let device = next(&mut taken()?, Device::from_fd)?;
    let mut held = Vec::new();
    let mut refused = Vec::new();
    for user in (FIRST_NUMBER..).take(HOW_MANY as usize) {
        // It is who calls that counts, and not who has opened the device.
        let made = as_user(user, || {
            let mut made = Vec::new();
            let why = loop {
                match device.create_session(&name(&made.len().to_string())) {
                    Ok(session) => made.push(session),
                    Err(why) => break why.errno(),
                }
            };
            Ok((made, why))
        });
        let (made, why) = made?;
        held.extend(made);
        refused.push(why);
    }
    ensure!(
        refused.iter().all(|why| *why == Errno::EDQUOT),
        "{refused:?}"
    );
    println!("{TRIED}{} sessions of {HOW_MANY} users", held.len());
    stay()
}

/// It must ask for no memory but by calls of the orchestrator's: for other memory the kernel would
/// kill it.
pub(super) fn is_full() -> Result<()> {
    const HALF: u64 = 256;
    /// How often it asks for what it cannot have.
    const TIMES: u32 = 200;
    let device = next(&mut taken()?, Device::from_fd)?;
    let needy = device.retrieve_session(&name(NEEDY))?;
    let fills = device.create_session(&name("fills"))?;
    for token in 0..2 * HALF {
        fills.preserve_fd(memfd::create("fills", 0)?, Token(token))?;
    }
    let files = (0..64).map(|_| memfd::create("late", 4096));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let small = (0..64).map(|_| OfEachKind::new());
    let small = small.collect::<Result<Vec<_>>>()?;
    awaits(&needy, &[Errno::ENOTCONN]);
    println!("{READY}");
    wait_to_go();
    let pairs = (HALF..2 * HALF).flat_map(|file| (0..HALF).map(move |on| (file, on)));
    let mut needs = pairs.map(|(file, on)| {
        let on = Needed::Here(Token(on));
        fills.add_dependency(Token(file), on)
    });
    let full = needs.find_map(|declared| Some(declared.err()?.errno()));
    for _ in 0..TIMES {
        // To find out what it needs may take memory.
        awaits(&needy, &[Errno::ENOTCONN, Errno::ENOMEM]);
    }
    let small = small.iter().flat_map(OfEachKind::all);
    let all = files.iter().map(AsFd::as_fd).chain(small);
    let mut preserved = 0;
    for (token, file) in (2 * HALF..).zip(all) {
        match fills.preserve_fd(file, Token(token)) {
            Ok(()) => preserved += 1,
            Err(why) if why.errno() == Errno::ENOMEM => {}
            Err(why) => println!("{LET_THROUGH}PRESERVE_FD in a full group: {why}"),
        }
    }
    println!("{TRIED}what needs another's, and {preserved} more files");
    ensure!(full == Some(Errno::ENOMEM), "{full:?}");
    stay()
}

/// Its file needs another's that is not taken back.
fn awaits(needy: &Session, errnos: &[Errno]) {
    match needy.retrieve_fd(Token(1)) {
        Err(why) if errnos.contains(&why.errno()) => {}
        other => println!("{LET_THROUGH}what needs another's: {other:?}"),
    }
}

/// The number of the administrator's does not make it one.
pub(super) fn bare() -> Result<()> {
    {
        let device = Device::open()?;
        for (what, done) in [
            ("prepare", device.prepare()),
            ("a list", device.list_participants().map(drop)),
        ] {
            let why = done.err().map(|why| why.errno());
            ensure!(why == Some(Errno::EACCES), "{what}: {why:?}");
        }
        let made = device.create_session(&name("vm"))?;
        ensure!(made.name()? == name("vm"), "it is not its own");
    }
    costly(BARE)
}

/// It has two sets of files, and no file of one set needs one of the other. To declare that the
/// first file of one set needs the last file of the other takes a search for a circle through both.
pub(super) fn costly(part: &str) -> Result<()> {
    let (device, session) = prepare_costly()?;
    wait_to_go_as(part);
    storm(THREADS, |thread| {
        call_costly(&device, &session, thread);
    })
}

/// A file of [`COSTLY`]'s, and one that it can be made to need by a long search alone.
fn pair(thread: u64) -> (Token, Needed) {
    let at = thread % SET;
    (Token(at), Needed::Here(Token(2 * SET - 1 - at)))
}

pub(super) fn call_costly(device: &Device, session: &Session, thread: u64) {
    let (file, on) = pair(thread);
    let _ = session.add_dependency(file, on);
    let (_, on) = pair(thread);
    let _ = session.drop_dependency(file, on);
    let _ = session.list_files();
    let _ = session.list_dependencies(Token(2 * SET - 1));
    let _ = device.list_sessions(Which::All);
}

/// Reads, as anybody may.
pub(super) fn reads(part: &str, threads: usize) -> Result<()> {
    const FILES: [&str; 4] = ["state", "update_count", "user_sessions", "users_files"];
    let path = |file| format!("/sys/kernel/liveupdate/{file}");
    let open = |thread: usize| File::open(path(FILES[thread % FILES.len()]));
    let files = (0..threads)
        .map(open)
        .collect::<std::io::Result<Vec<_>>>()?;
    println!("{READY}");
    wait_to_go_as(part);
    storm(threads, |thread| {
        let file = usize::try_from(thread).ok().and_then(|at| files.get(at));
        let mut text = [0; 64];
        if let Some(file) = file {
            let _ = file.read_at(&mut text, 0);
        }
    })
}

/// The sets of [`costly`], and how long a search takes.
pub(super) fn prepare_costly() -> Result<(Device, Session)> {
    let device = Device::open()?;
    let session = device.create_session(&name(COSTLY))?;
    let base = device.create_session(&name(BASE))?;
    base.preserve_fd(memfd::create(BASE, 1)?, Token(0))?;
    for file in 0..2 * SET {
        session.preserve_fd(memfd::create(COSTLY, 1)?, Token(file))?;
        let first = file - file % SET;
        for on in first..file {
            session.add_dependency(Token(file), Needed::Here(Token(on)))?;
        }
    }
    // In the next kernel no other file can be taken back before that one is.
    for first in [0, SET] {
        session.add_dependency(Token(first), Needed::In(name(BASE), Token(0)))?;
    }
    let (first, last) = pair(0);
    let cheap = timed(|| session.list_dependencies(Token(0)))?;
    let costs = timed(|| session.add_dependency(first, last))?;
    session.drop_dependency(first, last)?;
    println!("{READY}: a search takes {costs:?}, and a short list {cheap:?}");
    // The session of which it has taken the descriptor stays with the machine.
    core::mem::forget(base);
    Ok((device, session))
}

/// Each file needs, by way of others, one of a session that is not taken back: that is found at
/// the end of a search.
pub(super) fn costly_after() -> Result<()> {
    let device = Device::open()?;
    let session = device.retrieve_session(&name(COSTLY))?;
    let costs = timed(|| match session.retrieve_fd(Token(SET - 1)) {
        Err(why) if why.errno() == Errno::ENOTCONN => Ok(()),
        other => bail!("what needs another's: {other:?}"),
    })?;
    println!("{READY}: a search takes {costs:?}");
    wait_to_go_as(COSTLY_AFTER);
    storm(THREADS, |thread| {
        let _ = session.retrieve_fd(Token(SET - 1 - thread % SET));
        let _ = session.list_files();
        let _ = device.list_sessions(Which::All);
    })
}

/// All threads call at once, again and again. It says so when the first has made each call.
fn storm(threads: usize, calls: impl Fn(u64) + Sync) -> Result<()> {
    storm_as(threads, || (), calls)
}

/// As [`storm`]; each thread does something before its second round of calls.
pub(super) fn storm_as(
    threads: usize,
    turns: impl Fn() + Sync,
    calls: impl Fn(u64) + Sync,
) -> Result<()> {
    let all_are_there = Barrier::new(threads);
    std::thread::scope(|scope| {
        for thread in 0..threads as u64 {
            let (calls, turns, all_are_there) = (&calls, &turns, &all_are_there);
            scope.spawn(move || {
                all_are_there.wait();
                calls(thread);
                println!("{TRIED}{thread}");
                turns();
                loop {
                    calls(thread);
                }
            });
        }
    });
    Ok(())
}

fn timed<T, E>(does: impl FnOnce() -> Result<T, E>) -> Result<Duration, E> {
    let begun = Instant::now();
    does()?;
    Ok(begun.elapsed())
}
