// SPDX-License-Identifier: GPL-2.0-only
//! The handler of timers (timerfd): the clock, the interval, how long is left, and what has
//! expired, also while the timer was away.
//!
//! The clocks of a kernel begin when it boots, but for the machine's own. So what is handed over
//! is how long was left, and what that clock said then (`luo_core::note::resumed`).

use kernel::bindings;
use luo_abi::errno::Errno;
use luo_abi::note::{self, Timerfd, NONBLOCK};
use luo_core::note::resumed;
use luo_core::{OnePage, Small, Unrestored};

use crate::errno;
use crate::host::Linux;
use crate::sys::lent::Lent;
use crate::sys::{file, timerfd};

/// The handler.
pub(super) static TIMERS: OnePage<Timers> = OnePage(Timers);

/// Timers, of which a note tells everything.
pub(super) struct Timers;

impl Small<Linux> for Timers {
    type Note = Timerfd;

    fn compatible(&self) -> &'static str {
        note::TIMERFD
    }

    fn knows(&self, _: &Linux, file: &Lent) -> bool {
        timerfd::is_timer(file)
    }

    fn object_id(&self, _: &Linux, file: &Lent) -> u64 {
        file::address(file)
    }

    /// # Errors
    /// EOPNOTSUPP for a timer that wakes the machine, which takes a privilege, and for one
    /// that is told when the clock is set: it would have to be told of the update.
    fn look(&self, _: &Linux, file: &Lent) -> Result<Timerfd, Errno> {
        let mut timer = timerfd::look(file).map_err(errno::of_kernel)?;
        if file.flags() & bindings::O_NONBLOCK != 0 {
            timer.flags |= NONBLOCK;
        }
        Ok(timer)
    }

    fn make(&self, _: &Linux, note: &Timerfd) -> Result<Lent, Unrestored> {
        let now = resumed(note, timerfd::wall());
        let made = timerfd::make(&now, note.flags & NONBLOCK != 0);
        // Nothing but memory can be missing.
        made.map(Lent::from)
            .map_err(|why| Unrestored::Now(errno::of_kernel(why)))
    }
}
