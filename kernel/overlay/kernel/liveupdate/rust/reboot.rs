// SPDX-License-Identifier: GPL-2.0-only
//! The freeze, in the reboot system call, before the kexec.

use kernel::prelude::*;
use kernel::time::{Instant, Monotonic};
use luo_core::ops;

use crate::errno;
use crate::host::linux;
use crate::say::Say;

/// See `liveupdate_reboot()`.
///
/// # Errors
/// The first handler's veto; the kexec does not take place.
pub(crate) fn freeze() -> Result {
    let Some(linux) = linux() else {
        return Ok(());
    };
    let begun = Instant::<Monotonic>::now();
    match ops::freeze(linux) {
        Ok(report) => {
            let (sessions, files) = (report.sessions, report.files);
            let took = begun.elapsed().as_micros_ceil();
            pr_info!("frozen: {sessions} sessions, {files} files in {took} us\n");
            if report.unclaimed > 0 {
                pr_warn!(
                    "{} sessions of the previous kernel are not finished; \
                     they do not reach the next kernel\n",
                    report.unclaimed
                );
            }
            if report.unread {
                pr_warn!(
                    "sessions of the previous kernel were never taken over; \
                     they do not reach the next kernel\n"
                );
            }
            Ok(())
        }
        Err(why) => {
            pr_warn!("the reboot does not take place: {}\n", Say(&why));
            Err(errno::to_kernel(why.errno()))
        }
    }
}
