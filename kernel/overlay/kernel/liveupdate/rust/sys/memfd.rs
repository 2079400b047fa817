// SPDX-License-Identifier: GPL-2.0-only
//! Shared memory and the page cache, for the handler of memfds.

use core::ptr::NonNull;

use kernel::alloc::flags::{__GFP_NORETRY, __GFP_NOWARN, GFP_KERNEL_ACCOUNT};
use kernel::alloc::{Flags, KVVec, KVec};
use kernel::bindings;
use kernel::error::{from_err_ptr, to_result};
use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::time::msecs_to_jiffies;
use luo_abi::memfd::{GROUP_LENGTH, NAME_LENGTH};
use luo_core::PageError;
use luo_memfd::{Facts, Format, More, Run, Short, Source, Time, Times, MOST_PIECES};

use super::handler_table::HandlerTable;
use super::kho::{Handed, HandedPage};

const _: () = assert!(NAME_LENGTH == bindings::LUO_MEMFD_NAME as usize);
const _: () = assert!(GROUP_LENGTH == bindings::LUO_MEMFD_GROUP as usize);

/// How memory for lists of runs is asked for: charged to the caller, who may wait for it;
/// nobody is killed for it.
pub(crate) fn flags() -> Flags {
    GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN
}

/// As [`flags`], and charged to nobody: it is a few bytes for a moment, most of the time.
pub(crate) fn uncharged() -> Flags {
    GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN
}

/// Runs that are looked at in one go.
const BATCH: usize = 32;

/// How often folios are looked for anew in whose place others have come.
const AGAIN: u32 = 1000;

/// How often a locked file is tried, and how long is slept in between, in milliseconds.
const TRIES: u32 = 200;
const PAUSE: u32 = 10;

/// Whether a file is shared memory that has no name in a file system: a memfd, or as good
/// as one.
pub(crate) fn is_memfd(file: &File) -> bool {
    // SAFETY: The file is there for the call.
    unsafe { bindings::luo_memfd_is(file.as_ptr()) }
}

/// What C code knows the handler with a format by.
pub(crate) fn table(format: Format) -> Option<HandlerTable> {
    let at = Format::ALL.iter().position(|&of| of == format)?;
    // SAFETY: The array is static, and has one for each format.
    unsafe {
        HandlerTable::from_raw(
            (&raw mut bindings::luo_memfd_handlers)
                .cast::<bindings::liveupdate_file_handler>()
                .add(at),
        )
    }
}

/// Which object a file stands for: its inode.
pub(crate) fn object_id(file: &File) -> u64 {
    // SAFETY: An open file has an inode. Its address is not followed.
    unsafe { (*file.as_ptr()).f_inode as u64 }
}

/// The lock of an inode, by which nobody is in the middle of a change of its size.
///
/// # Invariants
///
/// It is held, by this task.
struct Locked<'a>(&'a File);

impl<'a> Locked<'a> {
    /// Locks the inode. Whoever writes to the file may have the lock for as long as they
    /// like, so there is an end to the patience.
    ///
    /// # Errors
    /// EBUSY at the end of it; EINTR if the task is killed.
    fn new(file: &'a File) -> Result<Self> {
        for _ in 0..TRIES {
            // SAFETY: The file is a memfd and there for the call.
            if unsafe { bindings::luo_memfd_lock(file.as_ptr()) } {
                // INVARIANT: Just locked.
                return Ok(Self(file));
            }
            // SAFETY: No spinlock is held; `current` is a task that runs.
            let killed = unsafe {
                bindings::schedule_timeout_killable(msecs_to_jiffies(PAUSE) as isize);
                bindings::luo_fatal_signal_pending(bindings::get_current())
            };
            if killed {
                return Err(EINTR);
            }
        }
        Err(EBUSY)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { bindings::luo_memfd_unlock(self.0.as_ptr()) }
    }
}

/// Holds a file still: its size does not change, and no hole is punched into it. Ends when
/// it is dropped.
///
/// # Invariants
///
/// The file is a memfd.
pub(crate) struct Still(ARef<File>);

// SAFETY: It may be ended by any task.
unsafe impl Send for Still {}

impl Still {
    /// Begins it.
    ///
    /// # Errors
    /// EBUSY if somebody writes to the file and does not end; EINTR.
    pub(crate) fn begin(file: &ARef<File>) -> Result<Self> {
        if !is_memfd(file) {
            return Err(EINVAL);
        }
        let _locked = Locked::new(file)?;
        // SAFETY: It is a memfd.
        unsafe { bindings::luo_memfd_hold(file.as_ptr(), true) };
        // INVARIANT: Looked at above.
        Ok(Self(file.clone()))
    }

    /// What is known of the file now.
    pub(crate) fn facts(&self) -> Facts {
        let mut facts = bindings::luo_memfd_facts::default();
        // SAFETY: By the type's invariant, and the structure is valid for writes.
        unsafe { bindings::luo_memfd_look(self.0.as_ptr(), &mut facts) };
        facts_of(&facts)
    }

    /// Its name.
    pub(crate) fn look_name(&self, name: &mut Short<NAME_LENGTH>) {
        name.fill(|room| {
            // SAFETY: By the type's invariant, and the room is valid for writes.
            unsafe {
                bindings::luo_memfd_look_name(self.0.as_ptr(), room.as_mut_ptr().cast(), room.len())
            }
        });
    }

    /// Bytes of the file and its seals.
    pub(crate) fn size_and_seals(&self) -> (u64, u32) {
        let mut seals = 0;
        // SAFETY: By the type's invariant, and the number is valid for writes.
        let size = unsafe { bindings::luo_memfd_size(self.0.as_ptr(), &mut seals) };
        (size, seals)
    }

    /// Pages that the file has, in memory or swapped out.
    fn pages(&self) -> u64 {
        // SAFETY: By the type's invariant.
        unsafe { bindings::luo_memfd_pages(self.0.as_ptr()) }
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { bindings::luo_memfd_hold(self.0.as_ptr(), false) }
    }
}

fn time_of(time: bindings::luo_memfd_time) -> Time {
    Time {
        seconds: time.seconds,
        nanoseconds: time.nanoseconds,
    }
}

fn time_to(time: Time) -> bindings::luo_memfd_time {
    bindings::luo_memfd_time {
        seconds: time.seconds,
        nanoseconds: time.nanoseconds,
    }
}

fn facts_of(facts: &bindings::luo_memfd_facts) -> Facts {
    Facts {
        size: facts.size,
        position: facts.position,
        seals: facts.seals,
        more: Some(More {
            flags: facts.flags,
            mode: facts.mode,
            uid: facts.uid,
            gid: facts.gid,
            times: Times {
                access: time_of(facts.access),
                modification: time_of(facts.modification),
                change: time_of(facts.change),
                birth: time_of(facts.birth),
            },
        }),
    }
}

fn facts_to(facts: &Facts) -> bindings::luo_memfd_facts {
    let mut to = bindings::luo_memfd_facts {
        size: facts.size,
        position: facts.position,
        seals: facts.seals,
        ..Default::default()
    };
    if let Some(more) = &facts.more {
        to.flags = more.flags;
        to.mode = more.mode;
        to.uid = more.uid;
        to.gid = more.gid;
        to.access = time_to(more.times.access);
        to.modification = time_to(more.times.modification);
        to.change = time_to(more.times.change);
        to.birth = time_to(more.times.birth);
    }
    to
}

fn run_to(run: &Run) -> bindings::luo_memfd_run {
    bindings::luo_memfd_run {
        index: run.index,
        frame: run.frame,
        pages: run.pages,
        order: run.order,
        state: if run.fresh {
            bindings::luo_memfd_state_LUO_MEMFD_FRESH
        } else {
            bindings::luo_memfd_state_LUO_MEMFD_WRITTEN
        },
    }
}

fn run_of(run: &bindings::luo_memfd_run) -> Run {
    Run {
        index: run.index,
        frame: run.frame,
        pages: run.pages,
        order: run.order,
        fresh: run.state == bindings::luo_memfd_state_LUO_MEMFD_FRESH,
    }
}

/// References to the folios of a run. Ends when it is dropped.
///
/// # Invariants
///
/// There is a reference to each folio, and they are what the run says.
struct Referred(Run);

impl Referred {
    /// Has Kexec HandOver keep them, too.
    fn keep(self, format: Format) -> Result<KeptRun> {
        // SAFETY: By the type's invariant these are pages, and they stay what they are.
        to_result(unsafe { bindings::luo_memfd_keep(&run_to(&self.0), format.step(&self.0)) })?;
        // INVARIANT: Just kept.
        Ok(KeptRun {
            referred: self,
            format,
        })
    }
}

impl Drop for Referred {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant there are references to give back.
        unsafe { bindings::luo_memfd_let_go(&run_to(&self.0)) }
    }
}

/// A run that Kexec HandOver keeps. Ends when it is dropped.
///
/// # Invariants
///
/// It is kept in the steps of the format.
struct KeptRun {
    referred: Referred,
    format: Format,
}

impl KeptRun {
    /// The run, which is the caller's business from now on.
    fn into_run(self) -> Run {
        let run = self.referred.0;
        core::mem::forget(self);
        run
    }

    /// # Safety
    ///
    /// The run is from [`Self::into_run`] of one with this format, and this is done once.
    unsafe fn from_run(run: Run, format: Format) -> Self {
        // INVARIANT: By the caller's promise.
        Self {
            referred: Referred(run),
            format,
        }
    }
}

impl Drop for KeptRun {
    fn drop(&mut self) {
        let run = &self.referred.0;
        // SAFETY: By the type's invariant. The references go after this.
        unsafe { bindings::luo_memfd_keep_no_more(&run_to(run), self.format.step(run)) }
    }
}

/// The pages of a file that are kept over a kexec, in its order. Ends when it is dropped.
///
/// # Invariants
///
/// Each run is from [`KeptRun::into_run`], with this format.
pub(crate) struct Kept {
    format: Format,
    runs: KVVec<Run>,
    /// Pages of all runs.
    pages: u64,
    /// Whether runs were added or are other than they were since [`Self::is_written`].
    changed: bool,
    /// A frame of a run, for whose page the control group pays that pays for all of them.
    payer: Payer,
}

/// Who pays for the pages of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Payer {
    /// There is no page yet.
    Unknown,
    /// All that pays for the page with this frame.
    Of(u64),
    /// More than one control group.
    Several,
}

impl Kept {
    /// All pages of a file that is held still.
    ///
    /// # Errors
    /// ENOMEM; those of moving pages to where they can stay.
    pub(crate) fn new(format: Format, still: &Still, end: u64) -> Result<Self> {
        let mut kept = Self {
            format,
            runs: KVVec::new(),
            pages: 0,
            changed: true,
            payer: Payer::Unknown,
        };
        kept.take(still, 0, end)?;
        Ok(kept)
    }

    /// The runs.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The control group that pays for the pages; none if it is not one for all of them: it
    /// would pay for what another has written.
    pub(crate) fn look_group(&self, group: &mut Short<GROUP_LENGTH>) {
        group.fill(|room| match self.payer {
            // SAFETY: By the type's invariant there is a reference to the page, and the room
            // is valid for writes.
            Payer::Of(frame) => unsafe {
                bindings::luo_memfd_look_group(frame, room.as_mut_ptr().cast(), room.len())
            },
            Payer::Unknown | Payer::Several => 0,
        });
    }

    /// Looks who pays for the pages of one run more, to which there are references.
    fn look_who_pays(&mut self, run: &Run) {
        let frame = match self.payer {
            Payer::Unknown => run.frame,
            Payer::Of(frame) => frame,
            Payer::Several => return,
        };
        // SAFETY: There are references to the pages of both runs.
        let same = unsafe { bindings::luo_memfd_same_payer(&run_to(run), frame) };
        self.payer = if same {
            Payer::Of(frame)
        } else {
            Payer::Several
        };
    }

    fn push(&mut self, kept: KeptRun) -> Result {
        // Room first: then nothing can fail before the run is ours.
        self.runs.reserve(1, flags())?;
        self.look_who_pays(&kept.referred.0);
        let run = kept.into_run();
        self.pages = self.pages.saturating_add(run.pages);
        self.runs.push_within_capacity(run).map_err(|_| ENOMEM)
    }

    /// Adds what the file has in a part of it.
    fn take(&mut self, still: &Still, from: u64, end: u64) -> Result {
        let mut next = from;
        while next < end {
            let mut found = [bindings::luo_memfd_run::default(); BATCH];
            // SAFETY: It is a memfd, and there is room for so many runs.
            let count = unsafe {
                bindings::luo_memfd_take(
                    still.0.as_ptr(),
                    &mut next,
                    end,
                    found.as_mut_ptr(),
                    found.len(),
                )
            };
            let mut done = Ok(());
            for run in found.iter().take(count) {
                if run.state == bindings::luo_memfd_state_LUO_MEMFD_BROKEN {
                    // Whoever has the file can punch the page out of it.
                    if done.is_ok() {
                        pr_err!(
                            "page {} of a memfd is broken: it is not preserved\n",
                            run.index
                        );
                        done = Err(EHWPOISON);
                    }
                    continue;
                }
                if run.state == bindings::luo_memfd_state_LUO_MEMFD_AWAY {
                    if done.is_ok() {
                        done = self.bring(still, run.index, run_of(run).end().min(end));
                    }
                    continue;
                }
                // INVARIANT: It was just taken. After a failure, this gives it back.
                let referred = Referred(run_of(run));
                if done.is_ok() {
                    done = referred.keep(self.format).and_then(|kept| self.push(kept));
                }
            }
            done?;
        }
        Ok(())
    }

    /// Adds pages that are not where they can stay: they are moved there.
    fn bring(&mut self, still: &Still, index: u64, end: u64) -> Result {
        let mut next = index;
        let mut again = AGAIN;
        while next < end {
            let mut found = [bindings::luo_memfd_run::default(); BATCH];
            // SAFETY: As above.
            let count = unsafe {
                bindings::luo_memfd_bring(
                    still.0.as_ptr(),
                    next,
                    end.saturating_sub(next),
                    found.as_mut_ptr(),
                    found.len(),
                )
            };
            let count = match usize::try_from(count) {
                Ok(0) => return Err(EBUSY),
                Ok(count) => count,
                Err(_) => match Error::from_errno(count as i32) {
                    why if why == EAGAIN && again > 0 => {
                        // Somebody is joining folios there, which ends.
                        again = again.saturating_sub(1);
                        continue;
                    }
                    why if why == EAGAIN => return Err(EBUSY),
                    why => return Err(why),
                },
            };
            let mut done = Ok(());
            for run in found.iter().take(count) {
                // INVARIANT: It was just taken.
                let referred = Referred(run_of(run));
                // A folio that begins before what was asked for is ours already, or will be.
                if done.is_ok() && run.index != next {
                    done = Err(EBUSY);
                }
                next = referred.0.end();
                if done.is_ok() {
                    done = referred.keep(self.format).and_then(|kept| self.push(kept));
                }
            }
            done?;
        }
        Ok(())
    }

    /// Notes that what tells of the runs is as they are.
    pub(crate) fn is_written(&mut self) {
        self.changed = false;
    }

    /// Takes another look at the file: somebody may have written where there was nothing, or to
    /// memory that was fresh. Whether runs were added or are other than they were when they were
    /// written down.
    ///
    /// # Errors
    /// As for [`Self::new`]. What was found by then is not forgotten.
    pub(crate) fn look_again(&mut self, still: &Still, end: u64) -> Result<bool> {
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
            // SAFETY: By the type's invariant, and each is taken out once.
            drop(unsafe { KeptRun::from_run(run, self.format) });
        }
    }
}

/// What the previous kernel has left, for a reader.
pub(crate) struct Previous;

impl Source for Previous {
    type Page = HandedPage;

    fn page(&self, address: u64) -> Result<HandedPage, PageError> {
        HandedPage::at(address)
    }

    fn order(&self, frame: u64) -> Option<u32> {
        let address = frame.checked_mul(kernel::page::PAGE_SIZE as u64)?;
        // SAFETY: Takes any address.
        u32::try_from(unsafe { bindings::kho_preserved_order(address) }).ok()
    }

    fn keeps(&self, run: &Run, step: u64) -> bool {
        if step == 0 {
            return false;
        }
        let mut at = 0;
        while at < run.pages {
            let frame = run.frame.saturating_add(at);
            let Some(address) = frame.checked_mul(kernel::page::PAGE_SIZE as u64) else {
                return false;
            };
            // SAFETY: Takes any address.
            if !unsafe { bindings::kho_are_preserved_pages(address, step as usize) } {
                return false;
            }
            at = at.saturating_add(step);
        }
        true
    }
}

/// Pages that came back from the previous kernel, some runs of them. Dropping it frees
/// them.
///
/// # Invariants
///
/// The pages of the runs are ours alone.
pub(crate) struct Back(KVec<bindings::luo_memfd_run>);

/// Runs that are put into a file at once.
const MOST_BACK: usize = 64;

// SAFETY: Pages belong to no task.
unsafe impl Send for Back {}

impl Back {
    /// Without pages.
    pub(crate) fn new() -> Self {
        Self(KVec::new())
    }

    /// Whether there is room for the pieces of one more run.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn has_room(&mut self) -> Result<bool> {
        if self.0.capacity() == 0 {
            self.0.reserve(MOST_BACK, flags())?;
        }
        Ok(self.0.len().saturating_add(MOST_PIECES) <= MOST_BACK)
    }

    /// Gets the pages of a run back, all or none, into room that there is. Those that follow
    /// each other where a large folio can be are joined to one. False if they are gone.
    pub(crate) fn get(&mut self, _alone: &Handed, run: Run, step: u64) -> bool {
        // SAFETY: The callee looks first whether Kexec HandOver has them, and nobody else does
        // meanwhile.
        if step == 0 || !unsafe { bindings::luo_memfd_get_back(&run_to(&run), step) } {
            return false;
        }
        // SAFETY: May be called in any context.
        let most = unsafe { bindings::luo_memfd_join_order() };
        for piece in luo_memfd::joined(run, most) {
            // INVARIANT: Kexec HandOver has given them away. There is room for all pieces.
            let _ = self.0.push_within_capacity(run_to(&piece));
        }
        true
    }

    /// How many pages there are.
    pub(crate) fn pages(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |sum, run| sum.saturating_add(run.pages))
    }

    /// Puts them into a file.
    ///
    /// # Errors
    /// ENOMEM: those that are not in it are still here, and another try can go on.
    pub(crate) fn put_into(&mut self, file: &Made) -> Result {
        // SAFETY: By the type's invariant, and nobody else knows the file.
        let result = to_result(unsafe {
            bindings::luo_memfd_insert(file.0.as_ptr(), self.0.as_mut_ptr(), self.0.len())
        });
        // INVARIANT: What was taken off the runs is the page cache's now. A run of which nothing
        // is left begins behind what was ours; they are the first ones, or all.
        if result.is_ok() {
            self.0.clear();
        }
        while self.0.first().is_some_and(|run| run.pages == 0) {
            if self.0.remove(0).is_err() {
                break;
            }
        }
        result
    }
}

impl Back {
    /// Frees the pages; the room stays.
    pub(crate) fn free(&mut self) {
        for run in &self.0 {
            // SAFETY: By the type's invariant.
            unsafe { bindings::luo_memfd_drop(run) }
        }
        // INVARIANT: They are not ours any more.
        self.0.clear();
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        self.free();
    }
}

/// A file that is being made, which nobody else knows.
///
/// # Invariants
///
/// It is a memfd, and the reference is the only one.
pub(crate) struct Made(ARef<File>);

// SAFETY: A file belongs to no task.
unsafe impl Send for Made {}

impl Made {
    /// A file without pages.
    ///
    /// # Errors
    /// ENOMEM, or those of making a file.
    pub(crate) fn new(facts: &Facts, name: &Short<NAME_LENGTH>) -> Result<Self> {
        let to = facts_to(facts);
        let name = match facts.more {
            Some(_) => name.room().as_ptr(),
            None => core::ptr::null(),
        };
        // SAFETY: The name is null or terminated: its room has a byte for that.
        let file = from_err_ptr(unsafe { bindings::luo_memfd_make(&to, name.cast()) });
        // Shared memory calls it so, too, if there is no memory for an inode.
        let file = file.map_err(|why| if why == ENOSPC { ENOMEM } else { why })?;
        let file = NonNull::new(file).ok_or(ENOMEM)?;
        // SAFETY: The file is new: its one reference is ours, and nobody is in
        // `fdget_pos` with it.
        // INVARIANT: As above.
        Ok(Self(unsafe { ARef::from_raw(file.cast()) }))
    }

    /// Accounts for pages that are to come into it.
    ///
    /// # Errors
    /// ENOSPC: the machine may not have as much.
    pub(crate) fn account(&self, pages: u64) -> Result {
        // SAFETY: By the type's invariant.
        to_result(unsafe { bindings::luo_memfd_account(self.0.as_ptr(), pages) })
    }

    /// Gives back what was accounted for and has not come. Called once for each
    /// [`Self::account`].
    pub(crate) fn settle_account(&self, pages: u64) {
        // SAFETY: By the type's invariant.
        unsafe { bindings::luo_memfd_settle_account(self.0.as_ptr(), pages) }
    }

    /// The file, which is complete.
    pub(crate) fn into_file(self) -> ARef<File> {
        self.0
    }
}

/// A memory control group that pays.
///
/// # Invariants
///
/// There is a reference to it.
pub(crate) struct Group(NonNull<bindings::mem_cgroup>);

// SAFETY: A group belongs to no task.
unsafe impl Send for Group {}

impl Group {
    /// The group with a path, if there is one.
    pub(crate) fn of_path(path: &Short<GROUP_LENGTH>) -> Option<Self> {
        // SAFETY: The room has a byte for the end of the string.
        let group = unsafe { bindings::luo_memfd_group(path.room().as_ptr().cast()) };
        // INVARIANT: The callee has taken a reference.
        NonNull::new(group).map(Self)
    }

    /// Does something that the group is charged for.
    pub(crate) fn charged<R>(&self, work: impl FnOnce() -> R) -> R {
        // SAFETY: By the type's invariant the group stays for as long as it is charged. What
        // was charged before is still held by who set it, and this is the same task.
        let before = unsafe { bindings::luo_memfd_charge(self.0.as_ptr()) };
        let done = work();
        // SAFETY: As above.
        unsafe { bindings::luo_memfd_charge_again(before) };
        done
    }
}

/// Whether who is charged for what this task asks for has room for so many pages, once it
/// has given back what it can do without.
pub(crate) fn payer_has_room(pages: u64) -> bool {
    // SAFETY: Takes any number. The task may sleep, and holds no lock of memory.
    unsafe { bindings::luo_memfd_payer_has_room(pages) }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { bindings::luo_memfd_group_put(self.0.as_ptr()) }
    }
}
