// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device, which others may have open for a while.

use std::time::{Duration, Instant};

use luo_sys::{Device, Errno, State};

/// How long the device may be somebody else's.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long others have it who only look.
pub(super) const MOMENT: Duration = Duration::from_millis(500);

/// How often it is tried in that time.
const AGAIN: Duration = Duration::from_millis(5);

/// Has a prepared or frozen orchestrator cancel. Gives the state that it was in.
pub(super) fn cancel(patience: Duration) -> luo_sys::Result<Option<State>> {
    let device = open_within(patience)?;
    match device.state() {
        Ok(state @ (State::Prepared | State::Frozen)) => device.cancel().map(|_| Some(state)),
        // Mainline's has no states.
        _ => Ok(None),
    }
}

pub(super) fn cancel_or_log() {
    match cancel(PATIENCE) {
        Ok(_) => {}
        Err(why) if matches!(why.errno(), Errno::ENOENT | Errno::ENODEV) => {}
        Err(why) => tracing::error!("the kernel's update could not be cancelled: {why}"),
    }
}

/// The state as the kernel tells everybody, whoever has the device; `None` if it does not.
pub(super) fn told_state() -> Option<State> {
    let told = std::fs::read_to_string("/sys/kernel/liveupdate/state").ok()?;
    let states = [
        State::Normal,
        State::Prepared,
        State::Frozen,
        State::Updated,
    ];
    states.into_iter().find(|state| state.word() == told.trim())
}

/// Opens the device. If somebody else has it open, that is tried for a while.
pub(super) fn open() -> luo_sys::Result<Device> {
    open_within(PATIENCE)
}

pub(super) fn open_within(patience: Duration) -> luo_sys::Result<Device> {
    let begun = Instant::now();
    loop {
        match Device::open() {
            Err(why) if why.errno() == Errno::EBUSY && begun.elapsed() < patience => {
                std::thread::sleep(AGAIN);
            }
            opened => return opened,
        }
    }
}
