// SPDX-License-Identifier: GPL-2.0-only
//! What the reboot system call does before the kexec.

use kernel::prelude::*;
use luo_core::ops::{self, Unclaimed};

use crate::errno;
use crate::host::linux;
use crate::policy;

/// See `liveupdate_reboot()`.
///
/// # Errors
/// The first veto, a dependency that is missing (ENOLINK), or what keeps an
/// unclaimed session from being carried on; the kexec does not take place.
pub(crate) fn get_ready() -> Result {
    let Some(linux) = linux() else {
        return Ok(());
    };
    let unclaimed = if policy::may_discard() {
        Unclaimed::Discard
    } else {
        Unclaimed::Carry
    };
    match ops::reboot(linux, unclaimed) {
        Ok(_) => Ok(()),
        Err(why) => Err(errno::to_kernel(why.errno())),
    }
}
