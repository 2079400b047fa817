// SPDX-License-Identifier: GPL-2.0-only
//! The memory control group that pays for the pages of a preserved file.

use kernel::bindings;
use luo_abi::memfd::GROUP_LENGTH;
use luo_memfd::{Run, Short};

use super::run::run_to;

/// The group that pays for more than half of the pages of a file, if there is one. Each page is a
/// vote, and votes for others take away those that there are, so whoever is left has more than
/// half, or nobody has.
#[derive(Clone, Copy)]
pub(super) struct Payer(bindings::luo_memfd_payer);

impl Payer {
    /// There is no page yet.
    pub(super) const NOBODY: Self = Self(bindings::luo_memfd_payer {
        frame: 0,
        ahead: 0,
        others: 0,
    });

    /// Looks who pays for the pages of some runs more.
    ///
    /// # Safety
    ///
    /// There are references to the pages of these runs, and to those of all that were looked at.
    pub(super) unsafe fn look_at(&mut self, runs: &[bindings::luo_memfd_run]) {
        // SAFETY: By the caller's promise.
        unsafe { bindings::luo_memfd_vote(&mut self.0, runs.as_ptr(), runs.len()) }
    }

    /// The path of the control group that pays for more than half of the pages of all runs that
    /// were looked at, of which there are so many pages.
    ///
    /// # Safety
    ///
    /// There are references to the pages of these runs, and they are those that were looked at.
    pub(super) unsafe fn look_group(
        &self,
        runs: &[Run],
        pages: u64,
        group: &mut Short<GROUP_LENGTH>,
    ) {
        let frame = self.0.frame;
        let is_most = || {
            let paid = runs.iter().fold(0u64, |paid, run| {
                // SAFETY: By the caller's promise, and the page is one of those.
                paid.saturating_add(unsafe { bindings::luo_memfd_paid(&run_to(run), frame) })
            });
            paid > pages / 2
        };
        let has_one = frame != 0 && (self.0.others == 0 || is_most());
        group.fill(|room| match has_one {
            // SAFETY: By the caller's promise, and the room is valid for writes.
            true => unsafe {
                bindings::luo_memfd_look_group(frame, room.as_mut_ptr().cast(), room.len())
            },
            false => 0,
        });
    }
}
