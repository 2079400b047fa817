// SPDX-License-Identifier: GPL-2.0-only
//! Where the machine is in an update, for those who watch, and how much users may have.

use luo_abi::rfc::State;
use luo_core::{Lock, Quota, Whom};

use crate::host::linux;
use crate::sys::{device_file, sysfs};

/// The state and the number of its changes since boot, which belong together.
pub(crate) fn current() -> (State, u64) {
    linux().map_or((State::Normal, 0), |linux| {
        linux.now(|engine| (engine.state(), engine.state_changes()))
    })
}

/// Tells those who watch that the state has changed: there may be very many, so a worker does it
/// after each change, see [`crate::errands`].
pub(crate) fn announce() {
    sysfs::notify_state();
    device_file::wake_pollers();
}

/// Live updates that brought the machine here, 0 after a cold boot.
pub(crate) fn update_count() -> u64 {
    linux().map_or(0, |linux| linux.now(|engine| engine.update_number()))
}

/// How much of something users may have.
pub(crate) fn quota(whom: Whom, of: Quota) -> Option<u64> {
    linux().map(|linux| linux.now(|engine| engine.quotas(whom).get(of)))
}

/// Decides how much of something users may have.
pub(crate) fn set_quota(whom: Whom, of: Quota, number: u64) {
    if let Some(linux) = linux() {
        linux.now(|engine| {
            let mut quotas = engine.quotas(whom);
            quotas.set(of, number);
            engine.set_quotas(whom, quotas);
        });
    }
}
