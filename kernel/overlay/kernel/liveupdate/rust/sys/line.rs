// SPDX-License-Identifier: GPL-2.0-only
//! Lines in which a worker of the kernel runs what users ask for: one step of each line in turn,
//! and in each line of each user in turn.

use core::mem::MaybeUninit;

use kernel::bindings;
use kernel::error::{to_result, Result};
use kernel::ffi::{c_long, c_uint, c_void};

use super::wait::Patience;

/// Lines of users' steps, by their numbers. The one behind them is of those who open the device,
/// who stand in another line of the kernel's already.
const LINES: u32 = bindings::LUO_SHIM_LINE_OF_OPENS;

/// A place in a line: whose step it is.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    number: u32,
    user: u32,
}

impl Line {
    /// That of the calling task.
    pub(crate) fn of_task() -> Self {
        // SAFETY: Called from system calls, as a task that runs.
        let user = unsafe { bindings::luo_shim_who_answers() };
        Self {
            number: user % LINES,
            user,
        }
    }

    /// That of the calling task, which opens the device.
    pub(crate) fn of_opener() -> Self {
        Self {
            number: LINES,
            ..Self::of_task()
        }
    }
}

/// Makes the workers. Called once, before anybody can call.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn set_up() -> Result {
    // SAFETY: By what is said above.
    to_result(unsafe { bindings::luo_shim_set_up_lines() })
}

/// Something that is to be done once, and what comes of it.
struct Step<W, R> {
    work: MaybeUninit<W>,
    done: MaybeUninit<R>,
}

/// Does it.
///
/// # Safety
///
/// `data` is a [`Step`] that nobody else uses meanwhile, whose work is there and is taken out by
/// this.
unsafe extern "C" fn run_it<W: FnOnce() -> R, R>(data: *mut c_void) {
    // SAFETY: By the caller's promise.
    let step = unsafe { &mut *data.cast::<Step<W, R>>() };
    // SAFETY: By the caller's promise it is there, and nobody reads it again.
    let work = unsafe { step.work.assume_init_read() };
    step.done.write(work());
}

/// Has something done by the worker of a line, when all that came before of the same user has been
/// done, and waits for it. The caller is charged for the memory that it takes. It must not ask who calls.
///
/// # Errors
/// The work, which nobody has begun: only if there is a patience, and it has ended or the caller
/// was killed.
pub(crate) fn run<W: FnOnce() -> R, R>(
    line: Line,
    patience: Option<Patience>,
    work: W,
) -> Result<R, W> {
    // Negative for who may not be killed.
    let ticks: c_long = patience.map_or(-1, Patience::ticks);
    let mut step = Step {
        work: MaybeUninit::new(work),
        done: MaybeUninit::uninit(),
    };
    let data = (&raw mut step).cast();
    // SAFETY: The step is there for the call, which calls the function with it once or, if it
    // says so, never, and comes back after that. Until then this task does nothing, so whatever
    // the work has borrowed of it is the worker's alone: it is as if the task were another thread
    // of itself, for which nothing of what work refers to cares.
    let ran = unsafe {
        let (number, user) = (line.number as c_uint, line.user as c_uint);
        bindings::luo_shim_run_in_line(number, user, ticks, Some(run_it::<W, R>), data)
    };
    match ran {
        // SAFETY: It was called, and so has written this.
        true => Ok(unsafe { step.done.assume_init() }),
        // SAFETY: It was not called, and so has not taken this.
        false => Err(unsafe { step.work.assume_init() }),
    }
}
