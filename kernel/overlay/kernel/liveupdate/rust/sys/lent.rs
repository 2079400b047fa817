// SPDX-License-Identifier: GPL-2.0-only
//! Files as the engine has them.

use core::mem::ManuallyDrop;
use core::ops::Deref;

use kernel::fs::File;
use kernel::sync::aref::ARef;

use super::pipe;

/// A reference to an open file.
///
/// Where it goes may be in a task of the administrator's, or of the kernel's own, although the
/// file is a user's. So who drops it waits for nobody: an end of a pipe is closed by a way of its
/// own.
pub(crate) struct Lent(ManuallyDrop<ARef<File>>);

impl Lent {
    /// The file, for who gives it to a program.
    pub(crate) fn into_file(self) -> ARef<File> {
        let mut own = ManuallyDrop::new(self);
        // SAFETY: It is taken once: `own` is not dropped, and nobody sees it afterwards.
        unsafe { ManuallyDrop::take(&mut own.0) }
    }
}

impl From<ARef<File>> for Lent {
    fn from(file: ARef<File>) -> Self {
        Self(ManuallyDrop::new(file))
    }
}

impl Clone for Lent {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Deref for Lent {
    type Target = ARef<File>;

    fn deref(&self) -> &ARef<File> {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // SAFETY: It is taken once: this is dropped once, and nobody sees it afterwards.
        let file = unsafe { ManuallyDrop::take(&mut self.0) };
        if pipe::find(&file).is_some() {
            pipe::let_go(file);
        }
    }
}
