// SPDX-License-Identifier: GPL-2.0-only
//! Where the machine is in an update, for those who watch, and how much users may have.

use luo_abi::rfc::State;
use luo_core::{Lock, Quota, Whom};

use crate::host::linux;
use crate::sys::{device_file, sysfs};

/// The state and the number of its changes since boot, which belong together. Whoever was killed
/// before it was its turn does not read what is given then.
pub(crate) fn current() -> (State, u64) {
    let known = linux().and_then(|linux| {
        let look = linux.now_killable(|engine| (engine.state(), engine.state_changes()));
        look.ok()
    });
    known.unwrap_or((State::Normal, 0))
}

/// Tells those who watch that the state has changed: there may be very many, so a worker does it
/// after each change, see [`crate::errands`].
pub(crate) fn announce() {
    sysfs::notify_state();
    device_file::wake_pollers();
}

/// Live updates that brought the machine here, 0 after a cold boot. As for [`current`].
pub(crate) fn update_count() -> u64 {
    let look = linux().map(|linux| linux.now_killable(|engine| engine.update_number()));
    look.and_then(Result::ok).unwrap_or(0)
}

/// How much of something users may have. As for [`current`].
pub(crate) fn quota(whom: Whom, of: Quota) -> Option<u64> {
    let look = linux()?.now_killable(|engine| engine.quotas(whom).get(of));
    look.ok()
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
