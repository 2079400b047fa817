// SPDX-License-Identifier: MIT OR Apache-2.0
//! Eventfds, timers and pipes in what is the same for all kinds of files: users, latecomers,
//! owners that are killed, kernels one after the other. What each of them is like is in the
//! topics named after them.

use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context as _, Result};
use luo_sys::{Device, Errno, FileStatus, Session, State, Token};
use rustix::event::{EventfdFlags, eventfd};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::owners::{Quota, create};
use super::tools::{FIRST, NO_CHOICE, NO_EVENTS, NO_HANDLER, enter, incoming, session, state_is};
use crate::case::{Case, Context, alone, here, shared};
use crate::check::{device, kept, name, refused, same};
use crate::child::{Child, Role, Step};
use crate::difference::missing;
use crate::user::{AllKinds, Delegated, USERS, as_user};

pub(super) const CASES: &[Case] = &[
    here("a-users-count-for-its-quota", counted).but(NO_CHOICE),
    here("an-owner-that-is-killed-lets-go", killed).but(NO_HANDLER),
    here("killed-when-all-is-frozen-they-stay", killed_frozen).but(&[missing(NO_EVENTS)]),
    here("late-ones-survive-a-cancel", late).but(&[missing(NO_EVENTS)]),
    shared("a-user-takes-its-own-back", leave_users, users).but(NO_CHOICE),
    shared("killed-after-retrieve-they-are-gone", leave, killed_after).but(NO_HANDLER),
    shared("what-nobody-wants-is-let-go-of", leave, unwanted).but(NO_HANDLER),
    alone(
        "they-go-on-from-kernel-to-kernel",
        &[leave_first, nothing, go_on, arrived],
    )
    .but(NO_HANDLER),
    alone("late-ones-go-over", &[leave_late, arrived]).but(&[missing(NO_EVENTS)]),
    alone(
        "killed-when-all-is-frozen-they-go-over",
        &[leave_killed, orphan],
    )
    .but(&[missing(NO_EVENTS)]),
];

/// What a file has for a read: as many bytes as a number.
const NUMBER: u64 = 0x0102_0304_0506_0708;

/// The files: each gives a number when it is read, the last takes it.
struct Files {
    eventfd: OwnedFd,
    timer: OwnedFd,
    reads: OwnedFd,
    writes: OwnedFd,
}

const TOKENS: [Token; 4] = [FIRST, Token(2), Token(3), Token(4)];

impl Files {
    fn make() -> Result<Self> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        rustix::io::write(&eventfd, &NUMBER.to_ne_bytes())?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let moment = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec::try_from(Duration::from_nanos(1))?,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &moment)?;
        let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
        let (reads, writes) = pipe_with(flags)?;
        rustix::io::write(&writes, &NUMBER.to_ne_bytes())?;
        Ok(Self {
            eventfd,
            timer,
            reads,
            writes,
        })
    }

    fn all(&self) -> [&OwnedFd; 4] {
        [&self.eventfd, &self.timer, &self.reads, &self.writes]
    }

    fn preserve(&self, session: &Session) -> Result<()> {
        for (file, token) in self.all().into_iter().zip(TOKENS) {
            session.preserve_fd(file, token)?;
        }
        Ok(())
    }

    fn retrieve(session: &Session) -> Result<Self> {
        let [eventfd, timer, reads, writes] = TOKENS.map(|token| session.retrieve_fd(token));
        Ok(Self {
            eventfd: eventfd?,
            timer: timer?,
            reads: reads?,
            writes: writes?,
        })
    }

    /// Asserts that they have come back, and are in use.
    fn check(&self) -> Result<()> {
        let numbers = [
            ("the count", &self.eventfd, NUMBER),
            ("how often it has expired", &self.timer, 1),
            ("what the pipe holds", &self.reads, NUMBER),
        ];
        for (what, file, number) in numbers {
            kept(what, read(file).context(what)?, number)?;
        }
        rustix::io::write(&self.writes, &7_u64.to_ne_bytes())?;
        kept("what is written to it", read(&self.reads)?, 7)
    }
}

/// What a file gives. A timer of a nanosecond takes as long as the machine's own timer does.
fn read(file: &OwnedFd) -> Result<u64> {
    super::timerfds::wait(file)?;
    let mut number = [0; 8];
    rustix::io::read(file, &mut number)?;
    Ok(u64::from_ne_bytes(number))
}

fn counted(_: &mut Context<'_>) -> Result<()> {
    let _few = [Quota::set("bytes", 4096)?];
    let _delegated = Delegated::new()?;
    let _kinds = AllKinds::new()?;
    let files = Files::make()?;
    let [user, other] = USERS;
    for file in [&files.eventfd, &files.timer, &files.writes] {
        let session = create(user, "counted")?;
        session.preserve_fd(file, Token(1))?;
        let more = eventfd(0, EventfdFlags::CLOEXEC)?;
        refused(session.preserve_fd(&more, Token(2)), Errno::EDQUOT)?;
        // Another user has as much.
        create(other, "counted")?.preserve_fd(&more, Token(1))?;
    }
    let session = create(user, "counted")?;
    refused(session.preserve_fd(&files.reads, Token(1)), Errno::EDQUOT)?;
    // The administrator has no quota.
    files.preserve(&device()?.create_session(&name("of root"))?)
}

fn killed(_: &mut Context<'_>) -> Result<()> {
    let files = Files::make()?;
    // They can be preserved at all.
    files.preserve(&session(&device()?, "killed", 0)?)?;
    for file in files.all() {
        let mut owner = Child::start(Role::Own(Step::Preserve), "killed", file.try_clone()?)?;
        owner.ready()?;
        owner.kill()?;
    }
    files.preserve(&session(&device()?, "killed", 0)?)?;
    files.check()
}

/// What everybody had agreed to stays until somebody cancels.
fn killed_frozen(_: &mut Context<'_>) -> Result<()> {
    state_is(&device()?, State::Normal)?;
    let files = Files::make()?;
    for file in files.all() {
        let mut owner = Child::start(Role::Own(Step::Freeze), "killed", file.try_clone()?)?;
        owner.ready()?;
        owner.kill()?;
        let device = device()?;
        state_is(&device, State::Frozen)?;
        let again = session(&device, "again", 0)?;
        refused(again.preserve_fd(file, FIRST), Errno::EBUSY)?;
        device.cancel()?;
        again.preserve_fd(file, FIRST)?;
    }
    files.check()
}

/// Preserved when the others had agreed already, they are their owner's still.
fn late(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let _before = session(&device, "before", 1)?;
    for state in [State::Prepared, State::Frozen] {
        let files = Files::make()?;
        enter(&device, state)?;
        let late = session(&device, "late", 0)?;
        files.preserve(&late)?;
        late.unpreserve_fd(TOKENS[2])?;
        late.preserve_fd(&files.reads, TOKENS[2])?;
        device.cancel()?;
        state_is(&device, State::Normal)?;
        enter(&device, State::Frozen)?;
        device.cancel()?;
        drop(late);
        files.check()?;
    }
    Ok(())
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 0)?;
    Files::make()?.preserve(&session)?;
    context.hold(session);
    Ok(())
}

/// The end of the pipe that was not taken back goes with the session, and so does the rest.
fn killed_after(context: &mut Context<'_>) -> Result<()> {
    let text = context.own_name();
    let unused = eventfd(0, EventfdFlags::CLOEXEC)?;
    let mut owner = Child::start(Role::Own(Step::RetrieveFd), text, unused)?;
    owner.ready()?;
    owner.kill()?;
    let device = device()?;
    refused(device.retrieve_session(&name(text)), Errno::ENOENT)?;
    Files::make()?.preserve(&session(&device, text, 0)?)
}

fn unwanted(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let files = session.list_files()?;
    let waits = files.iter().all(|file| file.status == FileStatus::Incoming);
    same("all of them wait", waits, true)?;
    session.finish()?;
    for token in TOKENS {
        refused(session.retrieve_fd(token), Errno::ENOENT)?;
    }
    Ok(())
}

const USERS_SESSION: &str = "of all kinds";

fn leave_users(context: &mut Context<'_>) -> Result<()> {
    // Of all cases that share the jump.
    let _root = context.device()?;
    let _delegated = Delegated::new()?;
    let _kinds = AllKinds::new()?;
    let [user, _] = USERS;
    let session = create(user, USERS_SESSION)?;
    let files = Files::make()?;
    as_user(user, || files.preserve(&session))?;
    context.hold(session);
    Ok(())
}

fn users(_: &mut Context<'_>) -> Result<()> {
    let _delegated = Delegated::new()?;
    let _kinds = AllKinds::new()?;
    let [user, other] = USERS;
    let session = name(USERS_SESSION);
    as_user(other, || {
        refused(Device::open()?.retrieve_session(&session), Errno::ENOENT)
    })?;
    as_user(user, || {
        let own = Device::open()?.retrieve_session(&session)?;
        Files::retrieve(&own)?.check()?;
        Ok(own.finish()?)
    })
}

/// The session of those that are alone.
const GOES_ON: &str = "from kernel to kernel";

fn leave_in(context: &mut Context<'_>, files: &Files) -> Result<()> {
    let session = session(&*context.device()?, GOES_ON, 0)?;
    files.preserve(&session)?;
    context.hold(session);
    Ok(())
}

fn leave_first(context: &mut Context<'_>) -> Result<()> {
    leave_in(context, &Files::make()?)
}

/// Nobody comes for them: the kernel carries them on.
fn nothing(_: &mut Context<'_>) -> Result<()> {
    state_is(&device()?, State::Updated)
}

fn taken() -> Result<Files> {
    let session = incoming(GOES_ON)?;
    let files = Files::retrieve(&session)?;
    session.finish()?;
    Ok(files)
}

/// What has come back is preserved like any other.
fn go_on(context: &mut Context<'_>) -> Result<()> {
    leave_in(context, &taken()?)
}

fn arrived(_: &mut Context<'_>) -> Result<()> {
    taken()?.check()?;
    state_is(&device()?, State::Normal)
}

fn leave_late(context: &mut Context<'_>) -> Result<()> {
    let device = context.device()?;
    enter(&device, State::Prepared)?;
    leave_in(context, &Files::make()?)
}

/// Its owner is killed in frozen, and the kernel alone has what the pipe holds.
fn leave_killed(_: &mut Context<'_>) -> Result<()> {
    state_is(&device()?, State::Normal)?;
    let files = Files::make()?;
    let mut owner = Child::start(Role::Own(Step::Freeze), GOES_ON, files.reads)?;
    owner.ready()?;
    owner.kill()
}

fn orphan(_: &mut Context<'_>) -> Result<()> {
    let session = incoming(GOES_ON)?;
    let reads = session.retrieve_fd(FIRST)?;
    kept("what the pipe holds", read(&reads)?, NUMBER)?;
    same("its end", rustix::io::read(&reads, &mut [0; 8])?, 0)?;
    session.finish()?;
    state_is(&device()?, State::Normal)
}
