// SPDX-License-Identifier: GPL-2.0-only
//! Timers (timerfd), for their handler.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::error::{from_err_ptr, to_result};
use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use luo_abi::note::{Timerfd, ABSOLUTE};

/// Whether a file is a timer.
pub(crate) fn is_timer(file: &File) -> bool {
    // SAFETY: The file is there for the call.
    unsafe { bindings::luo_timerfd_is(file.as_ptr()) }
}

/// The reading of the machine's clock, in nanoseconds since 1970.
pub(crate) fn wall() -> u64 {
    // SAFETY: May be called by any task.
    let now = unsafe { bindings::ktime_get_real() };
    u64::try_from(now).unwrap_or(0)
}

/// The state of a timer; of the flags [`ABSOLUTE`] only.
///
/// # Errors
/// EINVAL for another file; EOPNOTSUPP for a timer that cannot be handed over.
pub(crate) fn look(file: &File) -> Result<Timerfd> {
    let mut timer = bindings::luo_timerfd::default();
    // SAFETY: The file is there for the call, and the structure is valid for writes.
    to_result(unsafe { bindings::luo_timerfd_look(file.as_ptr(), &mut timer) })?;
    Ok(Timerfd {
        ticks: timer.ticks,
        left: timer.left,
        interval: timer.interval,
        wall: timer.wall,
        clock: u64::try_from(timer.clockid).map_err(|_| EINVAL)?,
        flags: if timer.absolute { ABSOLUTE } else { 0 },
    })
}

/// Makes a timer that is like that now.
///
/// # Errors
/// ENOMEM, or those of making a file.
pub(crate) fn make(timer: &Timerfd, nonblock: bool) -> Result<ARef<File>> {
    let timer = bindings::luo_timerfd {
        ticks: timer.ticks,
        left: timer.left,
        interval: timer.interval,
        wall: timer.wall,
        clockid: i32::try_from(timer.clock).map_err(|_| EINVAL)?,
        absolute: timer.flags & ABSOLUTE != 0,
    };
    // SAFETY: The structure is valid for reads; its clock is one of those that a note may name.
    let file = from_err_ptr(unsafe { bindings::luo_timerfd_make(&timer, nonblock) })?;
    let file = NonNull::new(file).ok_or(ENOMEM)?;
    // SAFETY: The file is new: its one reference is ours, and nobody is in `fdget_pos` with it.
    Ok(unsafe { ARef::from_raw(file.cast()) })
}
