// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each allocation of a call fails in turn, once: the call says ENOMEM, nothing of it is
//! left, and it works the next time.
//!
//! The kernel fails the allocation whose number a task writes to its own `fail-nth`, and
//! says there afterwards whether there was one of that number. A call is tried with one
//! number after another until it has fewer allocations than that.
//!
//! What can be done once only, as to take a file back, is done to one of many that are alike.
//! All of them come back whole, whatever has failed.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use anyhow::{Context, Result, bail, ensure};
use luo_abi::memfd::{PoolRecord, PoolsHeader};
use luo_sys::{
    Device, Errno, MappedFile, Needed, Session, SessionName, State, Token, Which, memfd,
};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{FallocateFlags, MemfdFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use zerocopy::FromBytes as _;

use crate::check::{Suite, device, name, same};
use crate::fill::{self, Prng};
use crate::init::Guest;
use crate::{kexec, port};

const SUITE: Suite = Suite::new("failing");

/// What this thread's allocations are failed by.
const NTH: &str = "/proc/thread-self/fail-nth";

/// What there may be of allocations in one call.
const MOST: u32 = 5_000;

const LENGTH: u64 = 5 * 4096;
/// The same of one that is taken back: more than one node of the page cache has, so that a part
/// of it can be there already when an allocation fails.
const LONG: u64 = 150 * 4096;
/// Where its hole begins, if it has one, and how long it is.
const HOLE: u64 = 4096;

/// Settings without which allocations that may wait do not fail, and those that do tell
/// of it on the console.
const SETTINGS: &[(&str, &str)] = &[
    ("failslab/ignore-gfp-wait", "N"),
    ("failslab/verbose", "0"),
    ("fail_page_alloc/ignore-gfp-wait", "N"),
    ("fail_page_alloc/ignore-gfp-highmem", "N"),
    ("fail_page_alloc/min-order", "0"),
    ("fail_page_alloc/verbose", "0"),
];

/// What is taken back in the next kernel, a file or a session for each number: so many may have
/// to be failed.
const FILES: u64 = 400;
const SESSIONS: u64 = 120;

/// The session with the files, and the others, which have one each.
const TAKEN: &str = "taken";

/// A call that is tried, and what takes it back.
type Call<'a> = (&'a str, Box<dyn Fn() -> Result<luo_sys::Result<()>> + 'a>);

/// The first call with a file of the device.
const FIRST_OF_DEVICE: &str = "freeze-a-pipe";

/// Tries each.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    for (name, value) in SETTINGS {
        let path = format!("/sys/kernel/debug/{name}");
        fs::write(&path, value).context(path)?;
    }
    match guest.boot {
        0 => first(guest),
        _ => second(),
    }
}

fn first(guest: &Guest) -> Result<()> {
    let device = device()?;
    let session = device.create_session(&name("failing"))?;
    let file = memfd::create("failing", LENGTH)?;
    let small = Small::make(FILES)?;
    for token in 1..=2 {
        let own = memfd::create("failing", LENGTH)?;
        session.preserve_fd(&own, Token(token))?;
    }
    let calls: Vec<Call<'_>> = vec![
        ("create-session", Box::new(|| created(&device))),
        ("preserve-fd", Box::new(|| preserved(&session, &file))),
        (
            "preserve-an-eventfd",
            Box::new(|| preserved(&session, &small.eventfd)),
        ),
        (
            "preserve-a-timer",
            Box::new(|| preserved(&session, &small.timer)),
        ),
        (
            "preserve-a-pipe",
            Box::new(|| preserved(&session, &small.reads)),
        ),
        (FIRST_OF_DEVICE, Box::new(|| frozen(&device, &small.reads))),
        ("add-dependency", Box::new(|| needs(&session))),
        ("fd-preserve", Box::new(|| registered(&device, &file))),
        ("prepare", Box::new(|| prepared(&device, &file))),
        ("freeze", Box::new(|| frozen(&device, &file))),
        (
            "freeze-huge-pages",
            Box::new(|| frozen_huge(&device, &session)),
        ),
        ("list-sessions", Box::new(|| listed(&device))),
    ];
    for (call, once) in calls {
        SUITE.case(call, || {
            let before = device.info()?;
            let failed = each(&once)?;
            port::progress(format!("{call}: {failed} allocations were failed"));
            let after = device.info()?;
            // The session of the device's own files is there from the first of them on.
            let own = u64::from(call == FIRST_OF_DEVICE);
            ensure!(
                (before.outgoing + own, before.files, before.state)
                    == (after.outgoing, after.files, after.state),
                "{before:?} became {after:?}"
            );
            Ok(())
        });
    }
    leave(guest, &device)
}

/// Leaves something for the next kernel.
fn leave(guest: &Guest, device: &Device) -> Result<()> {
    let mut held = Vec::new();
    let taken = device.create_session(&name(TAKEN))?;
    for number in 0..FILES {
        taken.preserve_fd(made(number)?, Token(number))?;
    }
    held.push(taken);
    for (kind, text) in SMALL.into_iter().enumerate() {
        let session = device.create_session(&name(text))?;
        for number in 0..SMALL_FILES {
            let files = Small::make(number)?;
            let token = |end| Token(2 * number + end);
            match kind {
                0 => session.preserve_fd(&files.eventfd, token(0))?,
                1 => session.preserve_fd(&files.timer, token(0))?,
                _ => {
                    session.preserve_fd(&files.reads, token(0))?;
                    session.preserve_fd(&files.writes, token(1))?;
                }
            }
        }
        held.push(session);
    }
    for number in 0..SESSIONS {
        let session = device.create_session(&alike(number))?;
        session.preserve_fd(made(FILES + number)?, Token(1))?;
        held.push(session);
    }
    kexec::go(guest, |_, _| ())
}

/// Sessions with small files, by their kind.
const SMALL: [&str; 3] = ["eventfds", "timers", "pipes"];

/// How many there are of each.
const SMALL_FILES: u64 = 150;

/// One of each kind, which gives [`number_of`] when it is read, or its only expiry.
struct Small {
    eventfd: OwnedFd,
    timer: OwnedFd,
    reads: OwnedFd,
    writes: OwnedFd,
}

/// What a small file of a number has for a read.
fn number_of(number: u64) -> u64 {
    number + 1000
}

impl Small {
    fn make(number: u64) -> Result<Self> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let moment = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: 0,
                tv_nsec: 1,
            },
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &moment)?;
        let (reads, writes) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let bytes = number_of(number).to_ne_bytes();
        for file in [&eventfd, &writes] {
            rustix::io::write(file, &bytes)?;
        }
        // More than one page of records.
        rustix::io::write(&writes, &[7; 9000])?;
        Ok(Self {
            eventfd,
            timer,
            reads,
            writes,
        })
    }
}

/// Small files of a kind are taken back, each allocation of it failing in turn. Of a pipe the end
/// that is written to first: it brings the whole pipe.
fn small_taken(device: &Device, kind: usize, text: &'static str) -> Result<()> {
    let session = device.retrieve_session(&name(text))?;
    let next = Cell::new(0);
    let (first, call) = match kind {
        0 => (0, "retrieve-an-eventfd"),
        1 => (0, "retrieve-a-timer"),
        _ => (1, "retrieve-a-pipe"),
    };
    tried(call, &|| {
        let number = next.replace(next.get() + 1);
        let token = Token(2 * number + first);
        let result = watched(|| session.retrieve_fd(token))?;
        let (file, result) = match result {
            Ok(file) => (file, Ok(())),
            Err(error) => (session.retrieve_fd(token)?, Err(error)),
        };
        let reads = match kind {
            2 => session.retrieve_fd(Token(2 * number))?,
            _ => file,
        };
        let mut seen = [0; 8];
        rustix::io::read(&reads, &mut seen)?;
        let expected = if kind == 1 { 1 } else { number_of(number) };
        same("what is read", u64::from_ne_bytes(seen), expected)?;
        Ok(result)
    });
    Ok(session.finish()?)
}

/// The name of one of the sessions that are alike.
fn alike(number: u64) -> SessionName {
    name(&format!("alike-{number}"))
}

fn contents(number: u64) -> Prng {
    Prng::of(&[17, number])
}

/// A file with a page, a hole, and other pages.
fn made(number: u64) -> Result<File> {
    let file = fill::memfd("failing", LONG, contents(number))?;
    rustix::fs::fallocate(
        &file,
        FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        HOLE,
        HOLE,
    )?;
    Ok(file)
}

/// It is whole: its hole is one, and all around it is there.
fn is_whole(file: &File, number: u64) -> Result<()> {
    let expected = made(number)?;
    let (mut found, mut wanted) = (Vec::new(), Vec::new());
    for (file, bytes) in [(file, &mut found), (&expected, &mut wanted)] {
        bytes.resize(usize::try_from(LONG)?, 0);
        file.read_exact_at(bytes, 0)?;
    }
    ensure!(found == wanted, "file {number} has other bytes");
    let blocks = |file: &File| Ok::<_, std::io::Error>(file.metadata()?.blocks());
    let (found, wanted) = (blocks(file)?, blocks(&expected)?);
    ensure!(found == wanted, "{found} blocks, not {wanted}");
    Ok(())
}

/// What is left is taken back, and let go of.
fn second() -> Result<()> {
    let device = device()?;
    let count = |counter: &Cell<u64>| counter.replace(counter.get() + 1);
    let (files, others) = (Cell::new(0), Cell::new(0));
    let sessions = RefCell::new(Vec::new());
    tried("retrieve-session", &|| {
        let name = alike(count(&others));
        let result = watched(|| device.retrieve_session(&name))?;
        let (session, result) = match result {
            Ok(session) => (session, Ok(())),
            Err(error) => (device.retrieve_session(&name)?, Err(error)),
        };
        sessions.borrow_mut().push(session);
        Ok(result)
    });
    let taken = device.retrieve_session(&name(TAKEN))?;
    tried("retrieve-fd", &|| {
        let number = count(&files);
        let result = watched(|| taken.retrieve_fd(Token(number)))?;
        let (file, result) = match result {
            Ok(file) => (file, Ok(())),
            Err(error) => (taken.retrieve_fd(Token(number))?, Err(error)),
        };
        is_whole(&File::from(file), number)?;
        Ok(result)
    });
    for (kind, text) in SMALL.into_iter().enumerate() {
        small_taken(&device, kind, text)?;
    }
    tried("finish", &|| {
        let left = sessions.borrow_mut().pop();
        let session = match left {
            Some(session) => session,
            None => device.retrieve_session(&alike(count(&others)))?,
        };
        let result = watched(|| session.finish())?;
        if result.is_err() {
            session.finish()?;
        }
        Ok(result)
    });
    SUITE.case("nothing-is-left", || {
        taken.finish()?;
        // The one of the calls in the first kernel, which has files of its own.
        device.retrieve_session(&name("failing"))?.finish()?;
        for number in 0..SESSIONS {
            // Those that were not taken above.
            if let Ok(session) = device.retrieve_session(&alike(number)) {
                session.finish()?;
            }
        }
        sessions.take();
        let left = device.list_sessions(Which::Incoming)?;
        ensure!(
            left.is_empty(),
            "{} are left: {:?}",
            left.len(),
            left.first()
        );
        same("the state", device.info()?.state, Some(State::Normal))
    });
    Ok(())
}

/// Tries what can be done once to each of many.
fn tried(call: &str, once: &dyn Fn() -> Result<luo_sys::Result<()>>) {
    SUITE.case(call, || {
        let failed = each(once)?;
        port::progress(format!("{call}: {failed} allocations were failed"));
        Ok(())
    });
}

/// Does something of which this thread's allocation of a number fails; whether there was
/// one.
fn failing<T>(number: u32, call: impl FnOnce() -> T) -> Result<(T, bool)> {
    let number = number.to_string();
    // Opening it takes allocations, so it is open before one of them is to fail, and until
    // none is any more.
    let nth = File::options().read(true).write(true).open(NTH);
    let nth = nth.context(NTH)?;
    let mut left = [0; 16];
    nth.write_all_at(number.as_bytes(), 0).context(NTH)?;
    let result = call();
    let read = nth.read_at(&mut left, 0);
    nth.write_all_at(b"0", 0).context(NTH)?;
    let left = left.get(..read.context(NTH)?).unwrap_or_default();
    // It is a number still if nothing was failed, and counts down no further than to it.
    Ok((result, left.trim_ascii() == b"0"))
}

thread_local! {
    /// The allocation of the next call that is to fail, and whether one did.
    static NEXT: std::cell::Cell<(u32, bool)> = const { std::cell::Cell::new((0, false)) };
}

/// The call itself, without what leads to it and what takes it back.
fn watched<T>(call: impl FnOnce() -> luo_sys::Result<T>) -> Result<luo_sys::Result<T>> {
    let (number, _) = NEXT.get();
    let (result, failed) = failing(number, call)?;
    NEXT.set((number, failed));
    Ok(result)
}

/// Tries a call with one allocation failing after another; how many there were.
fn each(once: &dyn Fn() -> Result<luo_sys::Result<()>>) -> Result<u32> {
    for number in 1..=MOST {
        NEXT.set((number, false));
        let result = once()?;
        let (_, failed) = NEXT.get();
        match result {
            // The kernel's own word for a pipe that gets no inode is ENFILE.
            Err(error) if failed && matches!(error.errno(), Errno::ENOMEM | Errno::ENFILE) => {}
            // Some have another way when they get no memory.
            Ok(()) if failed => {}
            Ok(()) => return Ok(number - 1),
            Err(error) => bail!("allocation {number}, failed: {failed}: {error}"),
        }
    }
    bail!("there is no end after {MOST} allocations")
}

fn created(device: &Device) -> Result<luo_sys::Result<()>> {
    let name = name("failing-2");
    Ok(watched(|| device.create_session(&name))?.map(drop))
}

fn preserved(session: &Session, file: impl AsFd) -> Result<luo_sys::Result<()>> {
    let token = Token(10);
    let result = watched(|| session.preserve_fd(file, token))?;
    if result.is_ok() {
        session.unpreserve_fd(token)?;
    }
    Ok(result)
}

fn needs(session: &Session) -> Result<luo_sys::Result<()>> {
    let on = Needed::Here(Token(1));
    let result = watched(|| session.add_dependency(Token(2), on))?;
    if result.is_ok() {
        session.drop_dependency(Token(2), on)?;
    }
    Ok(result)
}

fn registered(device: &Device, file: &File) -> Result<luo_sys::Result<()>> {
    let result = watched(|| device.fd_preserve(file))?;
    if let Ok(token) = result {
        device.fd_unpreserve(token)?;
    }
    Ok(result.map(drop))
}

/// A file of the device's is preserved in prepare.
fn prepared(device: &Device, file: &File) -> Result<luo_sys::Result<()>> {
    let token = device.fd_preserve(file)?;
    let result = watched(|| device.prepare())?;
    if result.is_ok() {
        device.cancel()?;
    }
    device.fd_unpreserve(token)?;
    Ok(result)
}

fn frozen(device: &Device, file: impl AsFd + Copy) -> Result<luo_sys::Result<()>> {
    let token = device.fd_preserve(file)?;
    device.prepare()?;
    let result = watched(|| device.freeze())?;
    // A freeze that fails takes the prepare back, too.
    if result.is_ok() {
        device.cancel()?;
    }
    device.fd_unpreserve(token)?;
    Ok(result)
}

/// What tells the next kernel how many huge pages come.
const TOLD: &str = "/sys/kernel/debug/kho/out/sub_fdts/LUO-HUGETLB";
const POOL: &str = "/proc/sys/vm/nr_hugepages";
const HUGE: usize = 2 << 20;

/// A file of huge pages that was written to after it was preserved is frozen. Whatever has
/// failed before, a freeze that comes off tells the next kernel of all its pages.
fn frozen_huge(device: &Device, session: &Session) -> Result<luo_sys::Result<()>> {
    let token = Token(11);
    fs::write(POOL, "2").context(POOL)?;
    let flags = MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB | MemfdFlags::CLOEXEC;
    let file = File::from(rustix::fs::memfd_create("failing", flags)?);
    file.set_len(2 * HUGE as u64)?;
    let mapped = MappedFile::new(&file, 2 * HUGE)?;
    mapped.store(0, 1)?;
    session.preserve_fd(&file, token)?;
    same("huge pages that are told of", told_of()?, 1)?;
    mapped.store(HUGE, 1)?;
    device.prepare()?;
    let result = watched(|| device.freeze())?;
    if result.is_err() {
        // That has taken the prepare back, and the session has the file still.
        device.prepare()?;
        device.freeze()?;
    }
    let told = told_of();
    device.cancel()?;
    session.unpreserve_fd(token)?;
    same("huge pages that are told of", told?, 2)?;
    same("those afterwards", told_of()?, 0)?;
    Ok(result)
}

/// How many huge pages the next kernel is told of now.
fn told_of() -> Result<u64> {
    let page = fs::read(TOLD).context(TOLD)?;
    let (header, records) = PoolsHeader::read_from_prefix(&page)
        .ok()
        .context("the page is too short")?;
    let records = records.chunks_exact(size_of::<PoolRecord>());
    let records = records.take(usize::try_from(header.count)?);
    let pages = records.filter_map(|record| PoolRecord::read_from_bytes(record).ok());
    Ok(pages.map(|record| record.pages).sum())
}

fn listed(device: &Device) -> Result<luo_sys::Result<()>> {
    Ok(watched(|| device.list_sessions(Which::All))?.map(drop))
}
