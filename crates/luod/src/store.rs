// SPDX-License-Identifier: MIT OR Apache-2.0
//! The service manager's descriptor store: what is in it outlives the agent.
//!
//! Who manages the service says so in `NOTIFY_SOCKET`: systemd, or `luod supervise`.
//! Without one a crash of the agent loses what only the agent holds, so nobody may
//! leave sessions with it then.

use std::os::fd::{AsFd, OwnedFd};

use sd_notify::NotifyState;

/// The store.
#[derive(Clone, Copy, Debug)]
pub struct Store {
    there: bool,
    /// It takes everything, and there is no manager.
    #[cfg(test)]
    made_up: bool,
}

impl Store {
    /// The store of the manager that started this process, if there is one.
    #[must_use]
    pub fn of_manager() -> Self {
        Self {
            there: std::env::var_os("NOTIFY_SOCKET").is_some(),
            #[cfg(test)]
            made_up: false,
        }
    }

    /// One for tests, that takes everything.
    #[cfg(test)]
    pub(crate) fn made_up() -> Self {
        Self {
            there: true,
            made_up: true,
        }
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_there(self) -> bool {
        self.there
    }

    /// Puts a copy of a session's descriptor in, under the session's name. Says whether
    /// it is in.
    pub fn put(self, name: &str, fd: impl AsFd) -> bool {
        #[cfg(test)]
        if self.made_up {
            return true;
        }
        if !self.there {
            return false;
        }
        // Not watched by the manager: a session's descriptor is no stream.
        let state = [
            NotifyState::FdStore,
            NotifyState::FdName(name),
            NotifyState::Custom("FDPOLL=0"),
        ];
        match sd_notify::notify_with_fds(&state, &[fd.as_fd()]) {
            Ok(()) => true,
            Err(why) => {
                tracing::error!(session = name, "it is not in the descriptor store: {why}");
                false
            }
        }
    }

    /// Takes it out.
    pub fn remove(self, name: &str) {
        #[cfg(test)]
        if self.made_up {
            return;
        }
        if !self.there {
            return;
        }
        let state = [NotifyState::FdStoreRemove, NotifyState::FdName(name)];
        if let Err(why) = sd_notify::notify(&state) {
            tracing::error!(session = name, "it stays in the descriptor store: {why}");
        }
    }

    /// What an earlier process of this service has left, by session.
    #[must_use]
    pub fn take() -> Vec<(String, OwnedFd)> {
        let mut stored = luo_sys::descriptors::passed();
        match crate::supervise::fetch() {
            Ok(kept) => stored.extend(kept),
            Err(why) => tracing::error!("the descriptor store cannot be read: {why}"),
        }
        stored
    }
}

/// Tells the manager that the service is up.
pub fn ready() {
    tell(&[NotifyState::Ready]);
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
