// SPDX-License-Identifier: GPL-2.0-only
//! The memory control group that pays for the pages of a preserved file.

use kernel::bindings;
use luo_abi::memfd::GROUP_LENGTH;
use luo_memfd::{Run, Short};

use super::run::run_to;

/// The group that pays for the pages of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Payer {
    /// There is no page yet.
    Unknown,
    /// All that pays for the page with this frame.
    Of(u64),
    /// More than one control group.
    Several,
}

impl Payer {
    /// Looks who pays for the pages of one run more.
    ///
    /// # Safety
    ///
    /// There are references to the pages of this run, and to those of all that were looked at.
    pub(super) unsafe fn look_at(&mut self, run: &Run) {
        let frame = match *self {
            Self::Unknown => run.frame,
            Self::Of(frame) => frame,
            Self::Several => return,
        };
        // SAFETY: By the caller's promise.
        let same = unsafe { bindings::luo_memfd_same_payer(&run_to(run), frame) };
        *self = if same { Self::Of(frame) } else { Self::Several };
    }

    /// The path of the control group that pays for all pages, if it is one.
    ///
    /// # Safety
    ///
    /// There are references to the pages of all runs that were looked at.
    pub(super) unsafe fn look_group(&self, group: &mut Short<GROUP_LENGTH>) {
        group.fill(|room| match *self {
            // SAFETY: By the caller's promise, and the room is valid for writes.
            Self::Of(frame) => unsafe {
                bindings::luo_memfd_look_group(frame, room.as_mut_ptr().cast(), room.len())
            },
            Self::Unknown | Self::Several => 0,
        });
    }
}
