// SPDX-License-Identifier: GPL-2.0-only

//! The session of a file that a handler works for.

use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    },
};

use crate::{
    bindings,
    error::to_result,
    fs::{
        file::LocalFile,
        File, //
    },
    prelude::*,
    sync::aref::ARef, //
};

/// The session of the file that a handler is called for, as long as that call lasts.
///
/// # Invariants
///
/// `raw` is null, or what the orchestrator gave to the call that `'a` is within.
pub struct Session<'a> {
    raw: *mut bindings::liveupdate_session,
    _call: PhantomData<&'a ()>,
}

impl Session<'_> {
    /// # Safety
    ///
    /// `raw` is null, or what the orchestrator gave to a call that lasts for all of the result's
    /// lifetime.
    pub(super) unsafe fn new(raw: *mut bindings::liveupdate_session) -> Self {
        // INVARIANT: By the caller's promise.
        Self {
            raw,
            _call: PhantomData,
        }
    }

    /// See [`Session::need`].
    pub(in crate::liveupdate) fn token_of(&self, other: &Needed) -> Result<u64> {
        let mut token = 0;
        // SAFETY: By the type's invariant the session is what the callee asks for. The other
        // file is there for the call, and the token is valid for a write.
        to_result(unsafe {
            bindings::liveupdate_get_token_outgoing(self.raw, other.0.as_ptr(), &mut token)
        })?;
        Ok(token)
    }

    /// See [`Session::get`].
    pub(in crate::liveupdate) fn file_of(&self, token: u64) -> Result<ARef<File>> {
        let mut file = ptr::null_mut();
        // SAFETY: By the type's invariant the session is what the callee asks for, and the file
        // is valid for a write.
        to_result(unsafe {
            bindings::liveupdate_get_file_incoming(self.raw, token, &mut file) //
        })?;
        let file = NonNull::new(file).ok_or(ENOENT)?;
        // SAFETY: The callee has given a reference that is ours. The orchestrator has another
        // one, so whoever is in `fdget_pos` with the file has taken its lock.
        Ok(unsafe { ARef::from_raw(file.cast()) })
    }
}

/// An open file that one of a driver's own needs.
///
/// It keeps the file open, and names it for [`Session::need`]. As it can do nothing else, any task
/// may have it, whatever the file's position is used for.
///
/// # Invariants
///
/// Nobody gets at the file by it but the orchestrator, which asks its handler which one it is.
#[derive(Clone)]
pub struct Needed(ARef<LocalFile>);

// SAFETY: What must not go to another task with a `LocalFile` is its position, and by the type's
// invariant nobody gets at that.
unsafe impl Send for Needed {}
// SAFETY: As above; references are counted atomically.
unsafe impl Sync for Needed {}

impl From<ARef<LocalFile>> for Needed {
    fn from(file: ARef<LocalFile>) -> Self {
        // INVARIANT: The field is private, and given to the orchestrator only.
        Self(file)
    }
}

impl From<ARef<File>> for Needed {
    fn from(file: ARef<File>) -> Self {
        // SAFETY: A `File` is laid out as a `LocalFile` and promises more, and the reference goes
        // from the one to the other.
        let file = unsafe { ARef::from_raw(ARef::into_raw(file).cast::<LocalFile>()) };
        Self::from(file)
    }
}
