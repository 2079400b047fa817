// SPDX-License-Identifier: MIT OR Apache-2.0
//! An open instance of `/dev/liveupdate`, and how its owner hears of changes.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use luo_abi::errno::Errno;
use luo_calls::Identity;

use crate::lock::lock;
use crate::machine::{Machine, Watcher};
use crate::signal;

/// An open instance of the device.
pub(crate) struct Instance {
    pub(crate) calls: luo_calls::Instance,
    /// The end of its descriptor that makes the other one readable; true while it
    /// does.
    bell: Mutex<(OwnedFd, bool)>,
}

impl Instance {
    /// Opens the device. `bell` is the other end of what the program gets.
    ///
    /// # Errors
    /// As [`luo_calls::Instance::open`].
    pub(crate) fn open(
        machine: &Machine,
        caller: Identity,
        bell: OwnedFd,
    ) -> Result<Arc<Self>, Errno> {
        let instance = Arc::new(Self {
            calls: luo_calls::Instance::open(machine, caller)?,
            bell: Mutex::new((bell, false)),
        });
        let watcher: Arc<dyn Watcher> = instance.clone();
        machine.watch(&watcher);
        Ok(instance)
    }

    /// The owner has read the state; `file` is its descriptor.
    pub(crate) fn is_read(&self, machine: &Machine, file: &OwnedFd) {
        let mut bell = lock(&self.bell);
        if bell.1 {
            signal::quiet(file);
            bell.1 = false;
        }
        drop(bell);
        // What has changed since is news again.
        self.changed(machine);
    }
}

impl Watcher for Instance {
    /// Makes the descriptor readable if the state has changed since the owner last
    /// read it.
    fn changed(&self, machine: &Machine) {
        let mut bell = lock(&self.bell);
        let (_, changes) = machine.state();
        if !bell.1 && self.calls.has_news(changes) {
            signal::ring(&bell.0);
            bell.1 = true;
        }
    }
}
