// SPDX-License-Identifier: MIT OR Apache-2.0
//! Timers (timerfd) come back: they have gone on meanwhile.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use luo_sys::{Errno, Session, State, Token};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_gettime, timerfd_settime,
};

use super::tools::{FIRST, NO_HANDLER, enter, incoming, session, state_is};
use crate::case::{Case, Context, here, shared};
use crate::check::{device, kept, refused, same, skip};
use crate::forge::{self, Fault, ODD};

pub(super) const CASES: &[Case] = &[
    here("one-open-file-is-preserved-once", once).but(NO_HANDLER),
    here("it-expires-while-it-is-preserved", usable).but(NO_HANDLER),
    here("a-refused-kexec-leaves-it-as-it-is", vetoed).but(NO_HANDLER),
    here("a-cancelled-update-leaves-it-as-it-is", cancelled).but(NO_HANDLER),
    here("one-that-wakes-the-machine-is-refused", alarms).but(NO_HANDLER),
    here("one-that-waits-for-the-clock-to-be-set-is-refused", told).but(NO_HANDLER),
    here("one-that-waits-for-it-since-is-a-veto", told_since).but(NO_HANDLER),
    shared("the-time-left-goes-on", leave_hour, hour).but(NO_HANDLER),
    shared("the-interval-stays", leave_interval, interval).but(NO_HANDLER),
    shared("an-idle-one-stays-idle", leave_idle, idle).but(NO_HANDLER),
    shared("what-has-expired-before-counts", leave_expired, expired).but(NO_HANDLER),
    shared("what-expires-meanwhile-counts", leave_short, expires).but(NO_HANDLER),
    shared("a-point-in-time-stays-one", leave_until, until).but(NO_HANDLER),
];

const HOUR: Duration = Duration::from_secs(3600);

/// By how much the machine's clock may be wrong after a kexec: it is read anew, in seconds.
const CLOCK: Duration = Duration::from_secs(5);

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

fn duration(time: Timespec) -> Result<Duration> {
    let seconds = Duration::from_secs(time.tv_sec.try_into()?);
    Ok(seconds + Duration::from_nanos(time.tv_nsec.try_into()?))
}

fn set(timer: &OwnedFd, how: TimerfdTimerFlags, value: Duration, again: Duration) -> Result<()> {
    let spec = Itimerspec {
        it_interval: timespec(again),
        it_value: timespec(value),
    };
    timerfd_settime(timer, how, &spec)?;
    Ok(())
}

/// One that expires after a time, and then again and again.
fn timer(value: Duration, again: Duration) -> Result<OwnedFd> {
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    set(&timer, TimerfdTimerFlags::empty(), value, again)?;
    Ok(timer)
}

/// Waits until it has expired.
pub(super) fn wait(timer: impl AsFd) -> Result<()> {
    let mut fds = [PollFd::new(&timer, PollFlags::IN)];
    let ready = poll(&mut fds, Some(&timespec(Duration::from_secs(60))))?;
    ensure!(ready == 1, "it does not expire");
    Ok(())
}

/// How often it has expired; `None` if it has not.
fn take(timer: impl AsFd) -> Result<Option<u64>> {
    let mut count = [0; 8];
    match rustix::io::read(timer, &mut count) {
        Ok(_) => Ok(Some(u64::from_ne_bytes(count))),
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn own() -> Result<Session> {
    session(&device()?, "timers", 0)
}

fn once(_: &mut Context<'_>) -> Result<()> {
    let (session, file) = (own()?, timer(HOUR, HOUR)?);
    session.preserve_fd(&file, Token(1))?;
    refused(
        session.preserve_fd(file.try_clone()?, Token(2)),
        Errno::EBUSY,
    )?;
    session.preserve_fd(timer(HOUR, HOUR)?, Token(2))?;
    Ok(())
}

fn usable(_: &mut Context<'_>) -> Result<()> {
    let (session, file) = (own()?, timer(HOUR, Duration::ZERO)?);
    session.preserve_fd(&file, Token(1))?;
    set(
        &file,
        TimerfdTimerFlags::empty(),
        Duration::from_nanos(1),
        Duration::ZERO,
    )?;
    wait(&file)?;
    same("how often", take(&file)?, Some(1))
}

fn told(_: &mut Context<'_>) -> Result<()> {
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
    let how = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    set(&timer, how, wall()? + HOUR, Duration::ZERO)?;
    refused(own()?.preserve_fd(&timer, Token(1)), Errno::EOPNOTSUPP)
}

/// One of these wakes a machine that sleeps, which takes a privilege.
fn alarms(_: &mut Context<'_>) -> Result<()> {
    let session = own()?;
    for clock in [TimerfdClockId::RealtimeAlarm, TimerfdClockId::BoottimeAlarm] {
        let timer = match timerfd_create(clock, TimerfdFlags::CLOEXEC) {
            Err(rustix::io::Errno::PERM) => return Err(skip("it takes CAP_WAKE_ALARM")),
            made => made?,
        };
        refused(session.preserve_fd(&timer, Token(1)), Errno::EOPNOTSUPP)?;
    }
    Ok(())
}

fn told_since(context: &mut Context<'_>) -> Result<()> {
    let session = own()?;
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    let file = timerfd_create(TimerfdClockId::Realtime, flags)?;
    session.preserve_fd(&file, Token(1))?;
    session.preserve_fd(timer(HOUR, HOUR)?, Token(2))?;
    let how = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    set(&file, how, wall()? + HOUR, Duration::ZERO)?;
    let error = context.refused_kexec()?.errno();
    same("the error", error, Errno::EOPNOTSUPP)?;
    // It may become one that can go again.
    set(
        &file,
        TimerfdTimerFlags::ABSTIME,
        wall()? + HOUR,
        Duration::ZERO,
    )?;
    let device = device()?;
    enter(&device, State::Frozen)?;
    Ok(device.cancel()?)
}

/// It goes on meanwhile, and afterwards.
fn is_as_it_was(file: &OwnedFd) -> Result<()> {
    let left = timerfd_gettime(file)?;
    same("the interval", duration(left.it_interval)?, 2 * HOUR)?;
    let left = duration(left.it_value)?;
    ensure!(
        left < HOUR && left > HOUR / 2,
        "{left:?} is left of an hour"
    );
    set(
        file,
        TimerfdTimerFlags::empty(),
        Duration::from_nanos(1),
        Duration::ZERO,
    )?;
    wait(file)?;
    same("how often it has expired", take(file)?, Some(1))
}

fn vetoed(context: &mut Context<'_>) -> Result<()> {
    let (session, file) = (own()?, timer(HOUR, 2 * HOUR)?);
    session.preserve_fd(&file, Token(1))?;
    session.preserve_fd(forge::open()?, Token(2))?;
    let fault = Fault::Freeze(ODD).inject()?;
    same("the error", context.refused_kexec()?.errno(), ODD)?;
    drop(fault);
    is_as_it_was(&file)
}

fn cancelled(_: &mut Context<'_>) -> Result<()> {
    let (session, file) = (own()?, timer(HOUR, 2 * HOUR)?);
    session.preserve_fd(&file, Token(1))?;
    let device = device()?;
    enter(&device, State::Frozen)?;
    device.cancel()?;
    state_is(&device, State::Normal)?;
    is_as_it_was(&file)
}

fn wall() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

fn leave(context: &mut Context<'_>, timer: OwnedFd) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(&timer, FIRST)?;
    context.hold(session);
    Ok(())
}

fn arrived(context: &mut Context<'_>) -> Result<OwnedFd> {
    let session = incoming(context.own_name())?;
    let timer = session.retrieve_fd(FIRST)?;
    session.finish()?;
    Ok(timer)
}

fn leave_hour(context: &mut Context<'_>) -> Result<()> {
    leave(context, timer(HOUR, Duration::ZERO)?)
}

fn hour(context: &mut Context<'_>) -> Result<()> {
    let timer = arrived(context)?;
    let left = timerfd_gettime(&timer)?;
    same("the interval", duration(left.it_interval)?, Duration::ZERO)?;
    let left = duration(left.it_value)?;
    ensure!(left < HOUR, "as much is left as an hour ago: {left:?}");
    ensure!(
        left > HOUR - Duration::from_secs(1800),
        "{left:?} is left of an hour"
    );
    same("how often it has expired", take(&timer)?, None)
}

fn leave_interval(context: &mut Context<'_>) -> Result<()> {
    leave(context, timer(Duration::from_millis(1), 2 * HOUR)?)
}

fn interval(context: &mut Context<'_>) -> Result<()> {
    let timer = arrived(context)?;
    kept("how often it has expired", take(&timer)?, Some(1))?;
    let left = timerfd_gettime(&timer)?;
    kept("the interval", duration(left.it_interval)?, 2 * HOUR)?;
    let left = duration(left.it_value)?;
    ensure!(left > HOUR && left < 2 * HOUR, "{left:?} is left");
    Ok(())
}

fn leave_idle(context: &mut Context<'_>) -> Result<()> {
    leave(context, timer(Duration::ZERO, Duration::ZERO)?)
}

fn idle(context: &mut Context<'_>) -> Result<()> {
    let timer = arrived(context)?;
    let left = timerfd_gettime(&timer)?.it_value;
    same("what is left", duration(left)?, Duration::ZERO)?;
    same("how often it has expired", take(&timer)?, None)?;
    set(
        &timer,
        TimerfdTimerFlags::empty(),
        Duration::from_nanos(1),
        Duration::ZERO,
    )?;
    wait(&timer)
}

fn leave_expired(context: &mut Context<'_>) -> Result<()> {
    let timer = timer(Duration::from_nanos(1), Duration::ZERO)?;
    wait(&timer)?;
    leave(context, timer)
}

fn expired(context: &mut Context<'_>) -> Result<()> {
    let timer = arrived(context)?;
    kept("how often it has expired", take(&timer)?, Some(1))?;
    same("what comes after it", take(&timer)?, None)
}

/// It expires before the jump, in it, or after it: once in any case.
fn leave_short(context: &mut Context<'_>) -> Result<()> {
    leave(context, timer(Duration::from_millis(700), Duration::ZERO)?)
}

fn expires(context: &mut Context<'_>) -> Result<()> {
    let timer = arrived(context)?;
    wait(&timer)?;
    kept("how often it has expired", take(&timer)?, Some(1))
}

fn leave_until(context: &mut Context<'_>) -> Result<()> {
    let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC)?;
    let then = wall()? + HOUR;
    set(&timer, TimerfdTimerFlags::ABSTIME, then, Duration::ZERO)?;
    context.note("then", then.as_secs());
    leave(context, timer)
}

fn until(context: &mut Context<'_>) -> Result<()> {
    let then = Duration::from_secs(context.noted("then")?);
    let timer = arrived(context)?;
    let now = wall()? + duration(timerfd_gettime(&timer)?.it_value)?;
    let off = now.abs_diff(then);
    ensure!(
        off < CLOCK,
        "it expires {off:?} off the time that it was set to"
    );
    Ok(())
}
