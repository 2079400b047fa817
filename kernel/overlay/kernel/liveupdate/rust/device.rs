// SPDX-License-Identifier: GPL-2.0-only
//! An open instance of `/dev/liveupdate`.

use kernel::prelude::*;
use luo_calls::Caller as _;

use crate::errno;
use crate::host::{linux, somebody_comes};
use crate::program::Program;
use crate::state;

/// An open instance of the device. Dropping it is the release.
pub(crate) struct Instance {
    calls: luo_calls::Instance,
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(linux) = linux() {
            somebody_comes();
            self.calls.close(linux);
        }
    }
}

impl Instance {
    /// Opens the device, exclusively or not, for a program whom the mode of its file
    /// admits.
    ///
    /// # Errors
    /// EINVAL for an exclusive open, and those of [`luo_calls::Instance::open`].
    pub(crate) fn open(exclusive: bool) -> Result<Self> {
        if exclusive {
            return Err(EINVAL);
        }
        let linux = linux().ok_or(ENODEV)?;
        let opened = luo_calls::Instance::open(linux, Program.identity());
        Ok(Self {
            calls: opened.map_err(errno::to_kernel)?,
        })
    }

    /// An ioctl on the device.
    pub(crate) fn ioctl(&self, command: u32, argument: usize) -> Result {
        let linux = linux().ok_or(ENODEV)?;
        somebody_comes();
        let done = luo_calls::on_device(linux, &Program, &self.calls, command, argument as u64);
        done.map_err(errno::to_kernel)
    }

    /// Whether the state has changed since the owner last read it.
    pub(crate) fn has_news(&self) -> bool {
        somebody_comes();
        let (_, changes) = state::current();
        self.calls.has_news(changes)
    }
}
