// SPDX-License-Identifier: MIT OR Apache-2.0
//! An open instance of `/dev/liveupdate`: whether there may be another, and how its
//! owner hears of changes.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use luo_abi::errno::Errno;

use crate::lock::lock;
use crate::machine::{Machine, Watcher};
use crate::signal;

/// The one who has the device open, if there may be only one.
struct Opener(Option<Arc<AtomicBool>>);

impl Opener {
    fn new(machine: &Machine) -> Result<Self, Errno> {
        if machine.policy.many_openers {
            return Ok(Self(None));
        }
        if machine.opened.swap(true, Ordering::AcqRel) {
            return Err(Errno::EBUSY);
        }
        Ok(Self(Some(Arc::clone(&machine.opened))))
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        if let Some(opened) = &self.0 {
            opened.store(false, Ordering::Release);
        }
    }
}

/// An open instance of the device.
pub(crate) struct Instance {
    pub(crate) calls: luo_calls::Instance,
    /// The end of its descriptor that makes the other one readable; true while it
    /// does.
    bell: Mutex<(OwnedFd, bool)>,
    _opener: Opener,
}

impl Instance {
    /// Opens the device. `bell` is the other end of what the program gets.
    ///
    /// # Errors
    /// EBUSY if there may be no more openers, EIO if the handover was refused.
    pub(crate) fn open(machine: &Machine, bell: OwnedFd) -> Result<Arc<Self>, Errno> {
        let opener = Opener::new(machine)?;
        let instance = Arc::new(Self {
            calls: luo_calls::Instance::open(machine)?,
            bell: Mutex::new((bell, false)),
            _opener: opener,
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
