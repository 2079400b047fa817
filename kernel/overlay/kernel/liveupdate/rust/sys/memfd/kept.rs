// SPDX-License-Identifier: GPL-2.0-only
//! The pages of a preserved file, taken by runs.

use kernel::alloc::KVVec;
use kernel::bindings;
use kernel::error::to_result;
use kernel::prelude::*;
use luo_abi::memfd::GROUP_LENGTH;
use luo_core::held::PAUSE_MILLIS;
use luo_memfd::{Format, Run, Short};

use super::payer::Payer;
use super::run::{run_of, run_to};
use super::still::Still;
use super::taken::Taken;
use crate::sys::log;
use crate::sys::memory::flags;
use crate::sys::wait;

/// How often folios are looked for anew in whose place others have come.
const AGAIN: u32 = 1000;

/// How often a page is tried to be moved again that could not be, and that nobody uses.
const MOVES: u32 = 4;

/// The pages of a file that are kept over a kexec, in its order. Ends when it is dropped.
///
/// # Invariants
///
/// There are references to the folios of each run, which are what it says, and Kexec HandOver keeps
/// them by the format.
pub(crate) struct Kept {
    format: Format,
    runs: KVVec<Run>,
    /// Pages of all runs.
    pages: u64,
    /// Whether runs were added or are other than they were since [`Self::is_written`].
    changed: bool,
    /// The group that pays for them.
    payer: Payer,
    /// Pages of the machine that had failed when these were looked at.
    failed: u64,
    /// For how many pauses it may still be waited for those who use pages that have to be moved.
    pauses: u32,
}

/// Pages of the machine that have failed so far.
fn failed() -> u64 {
    // SAFETY: May be called in any context.
    unsafe { bindings::luo_memfd_failed() }
}

impl Kept {
    /// All pages of a file that is held still. Where a page has to be moved, its readers and writers,
    /// as a device, are waited for: so many pauses at most, of which those that were waited are
    /// taken.
    ///
    /// # Errors
    /// ENOMEM; EBUSY if a page that has to be moved is in use for longer; those of moving pages to
    /// where they can stay. That the task is killed ends none of it.
    pub(crate) fn new(format: Format, still: &Still, end: u64, pauses: &mut u32) -> Result<Self> {
        let mut kept = Self {
            format,
            runs: KVVec::new(),
            pages: 0,
            changed: true,
            payer: Payer::NOBODY,
            failed: failed(),
            pauses: *pauses,
        };
        let taken = kept.take(still, 0, end);
        *pauses = core::mem::take(&mut kept.pauses);
        taken.map(|()| kept)
    }

    /// The runs.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The control group that pays for more than half of the pages; none if there is none such.
    pub(crate) fn look_group(&self, group: &mut Short<GROUP_LENGTH>) {
        // SAFETY: By the type's invariant there are references to the pages that were looked at.
        unsafe { self.payer.look_group(&self.runs, self.pages, group) }
    }

    /// Has Kexec HandOver keep the runs that stand first among those that were taken, and adds them.
    fn keep(&mut self, taken: &mut Taken) -> Result {
        let runs = taken.here();
        // Room first: then nothing can fail before the runs are ours.
        self.runs.reserve(runs.len(), flags())?;
        // SAFETY: There are references to these runs' pages, and by the type's invariant to those
        // of all others.
        unsafe { self.payer.look_at(runs) };
        // SAFETY: There are references to these pages, so they stay what they are.
        to_result(unsafe {
            bindings::luo_memfd_keep(runs.as_ptr(), runs.len(), self.format.is_by_folios())
        })?;
        for run in runs.iter().map(run_of) {
            self.pages = self.pages.saturating_add(run.pages);
            // INVARIANT: It was just kept, and its references are ours. There is room.
            let _ = self.runs.push_within_capacity(run);
        }
        let kept = runs.len();
        taken.pass_over(kept);
        Ok(())
    }

    /// Adds what the file has in a part of it.
    fn take(&mut self, still: &Still, from: u64, end: u64) -> Result {
        let mut next = from;
        let mut taken = Taken::NONE;
        while next < end {
            taken.take(still, &mut next, end);
            while let Some(run) = taken.first() {
                match run.state {
                    bindings::luo_memfd_state_LUO_MEMFD_BROKEN => {
                        // Whoever has the file can punch the page out of it.
                        // As often as somebody tries to preserve it.
                        if log::may_say_more() {
                            pr_err!(
                                "page {} of a memfd is broken: it is not preserved\n",
                                run.index
                            );
                        }
                        return Err(EHWPOISON);
                    }
                    bindings::luo_memfd_state_LUO_MEMFD_AWAY => {
                        // One that was brought may be as large as several that were seen.
                        let (from, to) = (run.index.max(self.end()), run_of(run).end().min(end));
                        taken.pass_over(1);
                        if from < to {
                            self.bring(still, from, to)?;
                        }
                    }
                    _ => self.keep(&mut taken)?,
                }
            }
            // The run that was brought may reach beyond the one that was seen: its pages were joined
            // meanwhile.
            next = next.max(self.end());
        }
        Ok(())
    }

    /// Where the last run ends, in pages of the file.
    fn end(&self) -> u64 {
        self.runs.last().map_or(0, Run::end)
    }

    /// Adds pages that are not where they can stay: they are moved there.
    fn bring(&mut self, still: &Still, index: u64, end: u64) -> Result {
        let mut next = index;
        let (mut again, mut moves) = (AGAIN, MOVES);
        let mut taken = Taken::NONE;
        while next < end {
            match taken.bring(still, next, end.saturating_sub(next)) {
                Ok(()) => {}
                Err(why) if why == ENOMEM && moves > 0 => {
                    // It could not be moved, and nobody uses it now: there was no memory, or
                    // it was in use when that was tried.
                    moves = moves.saturating_sub(1);
                    continue;
                }
                Err(why) if why == EAGAIN && again > 0 => {
                    // Somebody is joining folios there, which ends.
                    again = again.saturating_sub(1);
                    continue;
                }
                Err(why) if why == EBUSY && self.pauses > 0 => {
                    self.pauses = self.pauses.saturating_sub(1);
                    wait::pause_anyway(PAUSE_MILLIS);
                    continue;
                }
                Err(why) => {
                    // As often as somebody tries to preserve it.
                    if log::may_say_more() {
                        pr_err!(
                            "page {next} of a memfd, or one behind it, cannot be brought to \
                             where it can stay: it is not preserved\n"
                        );
                    }
                    return Err(if why == EAGAIN { EBUSY } else { why });
                }
            }
            if taken.first().is_none() {
                return Err(EBUSY);
            }
            for run in taken.here() {
                // A folio that begins before what was asked for is ours already, or will be.
                if run.index != next {
                    return Err(EBUSY);
                }
                next = run_of(run).end();
            }
            self.keep(&mut taken)?;
        }
        Ok(())
    }

    /// Notes that what tells of the runs is as they are.
    pub(crate) fn is_written(&mut self) {
        self.changed = false;
    }

    /// Memory may have failed since: then each page is looked at.
    ///
    /// # Errors
    /// EHWPOISON.
    fn look_whether_sound(&mut self) -> Result {
        let failed = failed();
        if failed == self.failed {
            return Ok(());
        }
        for run in &self.runs {
            // SAFETY: By the invariants the folios are there and are what the run says.
            if !unsafe { bindings::luo_memfd_is_sound(&run_to(run)) } {
                if log::may_say_more() {
                    pr_err!(
                        "a page from {} on of a memfd has broken: it is not handed over\n",
                        run.index
                    );
                }
                return Err(EHWPOISON);
            }
        }
        self.failed = failed;
        Ok(())
    }

    /// Takes another look at the file: somebody may have written where there was nothing, or to
    /// memory that was fresh. Whether runs were added or are other than they were when they were
    /// written down.
    ///
    /// # Errors
    /// As for [`Self::new`]. What was found by then is not forgotten.
    pub(crate) fn look_again(&mut self, still: &Still, end: u64) -> Result<bool> {
        self.look_whether_sound()?;
        for run in self.runs.iter_mut().filter(|run| run.fresh) {
            // SAFETY: By the invariants the folios are there and are what the run says.
            run.fresh = unsafe { bindings::luo_memfd_settle(still.0.as_ptr(), &run_to(run)) };
            self.changed |= !run.fresh;
        }
        if still.pages() == self.pages {
            return Ok(self.changed);
        }
        let mut more = Self {
            format: self.format,
            runs: KVVec::new(),
            pages: 0,
            changed: false,
            payer: self.payer,
            failed: self.failed,
            // Everybody waits for the freeze.
            pauses: 0,
        };
        let mut from = 0;
        for run in &self.runs {
            more.take(still, from, run.index)?;
            from = run.end();
        }
        more.take(still, from, end)?;
        if !more.runs.is_empty() {
            self.merge(more)?;
        }
        Ok(self.changed)
    }

    /// Adds other runs of the same file at their places.
    fn merge(&mut self, mut other: Self) -> Result {
        let count = self.runs.len().saturating_add(other.runs.len());
        let mut all = KVVec::with_capacity(count, flags())?;
        // From here on nothing fails: there is room for all.
        let old = core::mem::take(&mut self.runs);
        let new = core::mem::take(&mut other.runs);
        let mut new = new.into_iter().peekable();
        for run in old {
            while let Some(before) = new.next_if(|before| before.index < run.index) {
                let _ = all.push_within_capacity(before);
            }
            let _ = all.push_within_capacity(run);
        }
        for run in new {
            let _ = all.push_within_capacity(run);
        }
        self.pages = self.pages.saturating_add(other.pages);
        self.runs = all;
        self.payer = other.payer;
        self.changed = true;
        Ok(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for run in core::mem::take(&mut self.runs) {
            let step = self.format.step(&run);
            let run = run_to(&run);
            // SAFETY: By the type's invariant it is kept so, and each run is taken out once.
            unsafe { bindings::luo_memfd_keep_no_more(&run, step) };
            // SAFETY: By the type's invariant there are references to give back.
            unsafe { bindings::luo_memfd_let_go(&run) };
        }
    }
}
