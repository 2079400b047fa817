// SPDX-License-Identifier: MIT OR Apache-2.0
//! The handler of timers (timerfd). They are made anew from what is handed over, as in the
//! kernel.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use luo_abi::errno::Errno;
use luo_abi::note::{self, ABSOLUTE, BOOTTIME, NONBLOCK, REALTIME};
use luo_core::note::resumed;
use luo_core::{OnePage, Small, Unrestored};
use rustix::fs::OFlags;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_gettime, timerfd_settime,
};

use crate::descriptor::File;
use crate::fdinfo::{FdInfo, is_anonymous};
use crate::machine::Machine;
use crate::memfd::errno;

/// The handler.
pub(crate) static TIMERS: OnePage<Timers> = OnePage(Timers);

/// Timers, of which a note tells everything.
pub(crate) struct Timers;

/// `TFD_TIMER_ABSTIME` and `TFD_TIMER_CANCEL_ON_SET`, as fdinfo shows them.
const ABSTIME: u64 = 1;
const CANCEL_ON_SET: u64 = 2;

/// The clocks that wake a machine.
const ALARMS: [u64; 2] = [8, 9];

/// What the machine's clock says, in nanoseconds since 1970.
fn wall() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.as_ref().map_or(0, Duration::as_nanos);
    u64::try_from(now).unwrap_or(u64::MAX)
}

fn nanoseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let part = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(part)
}

fn timespec(nanoseconds: u64) -> Timespec {
    let time = Duration::from_nanos(nanoseconds);
    Timespec {
        tv_sec: time.as_secs().cast_signed(),
        tv_nsec: time.subsec_nanos().into(),
    }
}

/// A number of fdinfo.
fn number(info: &FdInfo, name: &str, radix: u32) -> Result<u64, Errno> {
    let value = info.value(name).ok_or(Errno::EIO)?;
    u64::from_str_radix(value, radix).map_err(|_| Errno::EIO)
}

fn look(file: &OwnedFd) -> Result<note::Timerfd, Errno> {
    // One that has expired and is to again goes on from here, and fdinfo tells of it.
    let left = timerfd_gettime(file).map_err(errno)?;
    let wall = wall();
    let info = FdInfo::of(file).ok_or(Errno::EIO)?;
    let (clock, set) = (
        number(&info, "clockid", 10)?,
        number(&info, "settime flags", 8)?,
    );
    if ALARMS.contains(&clock) || set & CANCEL_ON_SET != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let nonblock = rustix::fs::fcntl_getfl(file).map_err(errno)?;
    let when = |is_set: bool, flag| if is_set { flag } else { 0 };
    Ok(note::Timerfd {
        ticks: number(&info, "ticks", 10)?,
        left: nanoseconds(left.it_value),
        interval: nanoseconds(left.it_interval),
        wall,
        clock,
        flags: when(nonblock.contains(OFlags::NONBLOCK), NONBLOCK)
            | when(set & ABSTIME != 0, ABSOLUTE),
    })
}

/// Makes a timer that is like that now.
fn make(now: &note::Timerfd) -> Result<OwnedFd, rustix::io::Errno> {
    let clock = match now.clock {
        REALTIME => TimerfdClockId::Realtime,
        BOOTTIME => TimerfdClockId::Boottime,
        _ => TimerfdClockId::Monotonic,
    };
    let mut flags = TimerfdFlags::CLOEXEC;
    flags.set(TimerfdFlags::NONBLOCK, now.flags & NONBLOCK != 0);
    let file = timerfd_create(clock, flags)?;
    // A point in time by the machine's clock stays one, whoever sets that clock.
    let absolute = now.flags & ABSOLUTE != 0 && now.clock == REALTIME && now.left > 0;
    let (how, until) = match absolute {
        true => (
            TimerfdTimerFlags::ABSTIME,
            now.wall.saturating_add(now.left),
        ),
        false => (TimerfdTimerFlags::empty(), now.left),
    };
    let value = Itimerspec {
        it_interval: timespec(now.interval),
        it_value: timespec(until),
    };
    timerfd_settime(&file, how, &value)?;
    Ok(file)
}

impl Small<Machine> for Timers {
    type Note = note::Timerfd;

    fn compatible(&self) -> &'static str {
        note::TIMERFD
    }

    fn knows(&self, _: &Machine, file: &File) -> bool {
        is_anonymous(file, "[timerfd]")
    }

    fn object_id(&self, machine: &Machine, file: &File) -> u64 {
        machine.open_files.number(file)
    }

    fn look(&self, _: &Machine, file: &File) -> Result<note::Timerfd, Errno> {
        look(file)
    }

    fn make(&self, machine: &Machine, note: &note::Timerfd) -> Result<File, Unrestored> {
        let now = resumed(note, wall());
        let file = make(&now).map_err(|why| Unrestored::Now(errno(why)))?;
        if now.ticks > 0 {
            luo_sys::timer::set_ticks(&file, now.ticks).map_err(|why| {
                machine.warn(format_args!("how often a timer has expired is lost: {why}"));
                Unrestored::Ever(Errno::EOPNOTSUPP)
            })?;
        }
        Ok(Arc::new(file.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(interval: u64, value: u64) -> OwnedFd {
        let file = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).unwrap();
        let value = Itimerspec {
            it_interval: timespec(interval),
            it_value: timespec(value),
        };
        timerfd_settime(&file, TimerfdTimerFlags::empty(), &value).unwrap();
        file
    }

    #[test]
    fn a_timer_is_told_by_its_note() {
        const HOUR: u64 = 3_600_000_000_000;
        let note = look(&timer(7, HOUR)).unwrap();
        assert_eq!((note.ticks, note.interval, note.flags), (0, 7, 0));
        let left = note.left;
        assert!(left <= HOUR && left > HOUR / 2, "{left}");
        let again = look(&make(&note).unwrap()).unwrap();
        assert_eq!((again.interval, again.clock), (7, note::MONOTONIC));
        let idle = look(&timer(0, 0)).unwrap();
        let left = idle.left;
        assert_eq!(left, 0);
    }
}
