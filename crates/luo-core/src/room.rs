// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Steps that ask for memory while they have the engine's lock.
//!
//! Nobody waits for memory there: where pages have to be reclaimed first, that would take as
//! long as the control group of whoever asks is large, and everybody else would wait for the
//! lock. So such a request fails at once, and the caller makes room afterwards, without the
//! lock and in its own time, and runs the step once more.
//!
//! An error of a handler does not repeat the step: only the engine's own, [`Error::NoMemory`], does.

use crate::error::Error;
use crate::mem::make_room;

/// Bytes that one step takes at most: a segment of each table and index that an object is
/// in, and a directory's growth.
pub(crate) const ROOM: usize = 256 << 10;

/// By how much more room is made each time for something that may take any amount.
const MORE: usize = 16;

/// How often: up to a gigabyte, which is more than the largest handover takes.
const TIMES: u32 = 4;

/// Runs a step that changes nothing when it fails, and once more with room for it if it failed
/// for want of memory.
///
/// # Errors
/// Those of the step. [`Error::NoMemory`] also if no room could be made.
pub fn with_room<R>(mut step: impl FnMut() -> Result<R, Error>) -> Result<R, Error> {
    match step() {
        Err(Error::NoMemory) => {
            make_room(ROOM)?;
            step()
        }
        done => done,
    }
}

/// [`with_room`] for what may take any amount of memory: runs it as long as there is more
/// room to be made for it.
///
/// # Errors
/// As there.
pub(crate) fn with_any_room<R>(mut step: impl FnMut() -> Result<R, Error>) -> Result<R, Error> {
    let mut bytes = ROOM;
    for _ in 0..TIMES {
        match step() {
            Err(Error::NoMemory) => make_room(bytes)?,
            done => return done,
        }
        bytes = bytes.saturating_mul(MORE);
    }
    step()
}
