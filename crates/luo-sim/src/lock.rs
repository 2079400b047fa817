// SPDX-License-Identifier: MIT OR Apache-2.0
//! Locks.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock whose content is right even if somebody panicked with it: each change is
/// one step of the engine, or one statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
