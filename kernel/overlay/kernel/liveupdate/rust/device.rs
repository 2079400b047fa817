// SPDX-License-Identifier: GPL-2.0-only
//! `/dev/liveupdate`: who may open it.

use core::sync::atomic::{AtomicBool, Ordering};

use kernel::prelude::*;

use crate::errno;
use crate::host::linux;
use crate::policy;
use crate::program::Program;
use crate::state;
use crate::sys::task;

/// Set while the only one who may has the device open.
static OPEN: AtomicBool = AtomicBool::new(false);

/// The one who has the device open, if there may be only one.
struct Opener {
    only: bool,
}

impl Opener {
    fn new() -> Result<Self> {
        if policy::many_openers() {
            return Ok(Self { only: false });
        }
        match OPEN.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(Self { only: true }),
            Err(_) => Err(EBUSY),
        }
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        if self.only {
            OPEN.store(false, Ordering::Release);
        }
    }
}

/// An open instance of the device. Dropping it is the release.
pub(crate) struct Instance {
    calls: luo_calls::Instance,
    // Dropped last: the next opener finds this instance closed.
    _opener: Opener,
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(linux) = linux() {
            self.calls.close(linux);
        }
    }
}

impl Instance {
    /// Opens the device, exclusively or not.
    ///
    /// # Errors
    /// EACCES for who may not administer the machine, EINVAL for an exclusive
    /// open, EBUSY if there may be no more openers, EIO if the handover was
    /// refused.
    pub(crate) fn open(exclusive: bool) -> Result<Self> {
        if !task::is_administrator() {
            return Err(EACCES);
        }
        if exclusive {
            return Err(EINVAL);
        }
        let linux = linux().ok_or(ENODEV)?;
        let opener = Opener::new()?;
        Ok(Self {
            calls: luo_calls::Instance::open(linux).map_err(errno::to_kernel)?,
            _opener: opener,
        })
    }

    /// An ioctl on the device.
    pub(crate) fn ioctl(&self, command: u32, argument: usize) -> Result {
        let linux = linux().ok_or(ENODEV)?;
        let done = luo_calls::on_device(linux, &Program, &self.calls, command, argument as u64);
        done.map_err(errno::to_kernel)
    }

    /// Whether the state has changed since the owner last read it.
    pub(crate) fn has_news(&self) -> bool {
        let (_, changes) = state::current();
        self.calls.has_news(changes)
    }
}
