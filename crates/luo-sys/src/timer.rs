// SPDX-License-Identifier: MIT OR Apache-2.0
//! How often a timer (timerfd) has expired.

use std::os::fd::{AsFd, AsRawFd};

use crate::error::{Error, Result};

/// `TFD_IOC_SET_TICKS` of `linux/timerfd.h`: `_IOW('T', 0, __u64)`.
const SET_TICKS: libc::Ioctl = 0x4008_5400;

/// Says how often a timer has expired since it was read; more than never.
///
/// # Errors
/// ENOTTY: the kernel was built without what checkpoints need (`CONFIG_CHECKPOINT_RESTORE`).
/// EINVAL: 0.
pub fn set_ticks(timer: impl AsFd, ticks: u64) -> Result<()> {
    // SAFETY: The ioctl reads a number of this size, which lives until the call returns.
    let done = unsafe { libc::ioctl(timer.as_fd().as_raw_fd(), SET_TICKS, &raw const ticks) };
    if done != 0 {
        return Err(Error::last("TFD_IOC_SET_TICKS"));
    }
    Ok(())
}
