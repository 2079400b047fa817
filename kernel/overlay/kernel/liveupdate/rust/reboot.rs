// SPDX-License-Identifier: GPL-2.0-only
//! The orchestrator's part of the reboot system call, before the kexec.

use kernel::prelude::*;
use luo_core::ops;

use crate::errno;
use crate::host::linux;
use crate::policy;
use crate::sys::{account, kexec};

/// See `liveupdate_reboot()`.
///
/// # Errors
/// Where the administrator has it so, the first veto, a dependency that is missing
/// (ENOLINK), or what keeps an unclaimed session from being carried on; else errors of the
/// orchestrator itself. EOPNOTSUPP if the image takes nothing over and something is
/// preserved. The kexec does not take place.
pub(crate) fn get_ready() -> Result {
    let Some(linux) = linux() else {
        return Ok(());
    };
    // Sessions of all are carried on here, whoever it is that reboots the machine.
    let reboot = || ops::reboot(linux, policy::of_reboot(), kexec::image_to_boot());
    match account::of_machine(reboot) {
        Ok(_) => Ok(()),
        Err(why) => Err(errno::to_kernel(why.errno())),
    }
}
