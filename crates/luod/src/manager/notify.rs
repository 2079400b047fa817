// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages to the service manager: the agent is up, how it stands, it is alive.

use sd_notify::NotifyState;

/// Tells the manager that the service is up and, in a line, how it stands.
pub fn ready(line: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(line)]);
}

/// Tells the manager, in a line, how it stands.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// Tells the manager that the service is alive.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(state) {
        tracing::warn!("the service manager: {why}");
    }
}
