// SPDX-License-Identifier: MIT OR Apache-2.0
//! Made-up descriptor stores.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::manager::keeper::Keeper;

/// A descriptor store that has room for everything, and keeps nothing.
pub(crate) struct Shelf;

impl Keeper for Shelf {
    fn keep(&self, _label: &str, _fd: BorrowedFd<'_>, _patience: Duration) -> std::io::Result<()> {
        Ok(())
    }

    fn close(&self, _label: &str) -> std::io::Result<()> {
        Ok(())
    }
}

/// A descriptor store that keeps what it is given.
#[derive(Clone, Default)]
pub(crate) struct Cupboard(Arc<Mutex<BTreeMap<String, OwnedFd>>>);

impl Cupboard {
    /// Takes out what was kept last.
    pub(crate) fn take(&self) -> Option<OwnedFd> {
        Some(self.0.lock().unwrap().pop_last()?.1)
    }
}

impl Keeper for Cupboard {
    fn keep(&self, label: &str, fd: BorrowedFd<'_>, _patience: Duration) -> std::io::Result<()> {
        let fd = fd.try_clone_to_owned()?;
        self.0.lock().unwrap().insert(label.to_owned(), fd);
        Ok(())
    }

    fn close(&self, label: &str) -> std::io::Result<()> {
        self.0.lock().unwrap().remove(label);
        Ok(())
    }
}
