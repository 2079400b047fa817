// SPDX-License-Identifier: GPL-2.0-only
//! A text that the kernel reads out, such as `/proc/PID/fdinfo/FD`.

use kernel::bindings;
use kernel::fmt;
use kernel::seq_file::SeqFile;

/// The text, while it is written.
pub(crate) struct Text<'a> {
    to: &'a SeqFile,
    raw: *const bindings::seq_file,
}

impl<'a> Text<'a> {
    /// # Safety
    ///
    /// `raw` is valid and not used by anybody else for `'a`.
    pub(crate) unsafe fn from_raw(raw: *mut bindings::seq_file) -> Self {
        Self {
            // SAFETY: By the caller's promise.
            to: unsafe { SeqFile::from_raw(raw) },
            raw,
        }
    }

    /// Appends to the text.
    pub(crate) fn write(&self, what: fmt::Arguments<'_>) {
        self.to.call_printf(what);
    }

    /// Whether the room is full: what is appended now is lost, and the kernel is
    /// going to ask again with more room.
    pub(crate) fn is_full(&self) -> bool {
        // SAFETY: By the promise made for `raw`; nothing else looks at it now.
        unsafe { (*self.raw).count >= (*self.raw).size }
    }
}
