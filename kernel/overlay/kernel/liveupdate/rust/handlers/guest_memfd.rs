// SPDX-License-Identifier: GPL-2.0-only
//! The handler of memory of virtual machines (guest_memfd) that is shared with the host.
//!
//! Its pages are handed over as those of a memfd are, by runs ([`super::memfd`]). With them
//! goes a note: whose memory it is, and what it was made with. The machine is a file of the same
//! session, which this one needs: it is preserved before, frozen afterwards and restored first,
//! and without it nothing is.
//!
//! From the freeze on no page comes that was not there, for whoever brought it in would lose what
//! is written to it: a program has SIGBUS, a processor of the guest's EBUSY.

use kernel::prelude::*;
use luo_abi::errno::Errno;
use luo_abi::note::{self, GuestMemfd, GUEST_INIT_SHARED, GUEST_MMAP};
use luo_core::held::{wait_for_holder, Files};
use luo_core::note::{read, write, Unread};
use luo_core::{ops, BlockMemory as _, Host as _, Kind, Subject, Unrestored};
use luo_memfd::Format;

use super::memfd::{self as pages, Half, Preserved};
use crate::errno;
use crate::host::Linux;
use crate::sys::file;
use crate::sys::kho::PreservedPage;
use crate::sys::kvm::{machine, memory};
use crate::sys::lent::Lent;
use crate::sys::memfd::{self, Made, Still};
use crate::sys::wait;

/// How the pages are handed over.
const FORMAT: Format = Format::Runs;

/// The handler.
pub(super) static MEMORY: Memory = Memory;

/// Memory of virtual machines.
pub(super) struct Memory;

/// What is kept of preserved memory. Dropping it ends everything, the last field last.
pub(super) struct Kept {
    _note: PreservedPage,
    preserved: Preserved,
}

/// The note of memory that can be handed over.
///
/// # Errors
/// EOPNOTSUPP if it is not shared with the host, or cannot be mapped; those of
/// [`ops::need_object`]: ENOENT above all, if its machine is not preserved in the session.
fn note_of(linux: &Linux, of: &Subject, file: &Lent) -> Result<GuestMemfd, Errno> {
    let what = memory::Memory::of(file).ok_or(Errno::EINVAL)?.look();
    if !what.is_shared || what.flags != GUEST_MMAP | GUEST_INIT_SHARED {
        return Err(Errno::EOPNOTSUPP);
    }
    let token = ops::need_object(linux, of, what.machine).map_err(|why| why.errno())?;
    Ok(GuestMemfd {
        machine: token,
        identity: what.identity,
        flags: what.flags,
        pages: 0,
    })
}

/// What the previous kernel has left of some memory.
fn read_note(linux: &Linux, data: u64) -> Result<GuestMemfd, Unread> {
    read(&linux.read_page(data)?)
}

impl Kind<Linux> for Memory {
    type Kept = Kept;

    fn compatible(&self) -> &'static str {
        note::GUEST_MEMFD
    }

    fn knows(&self, _: &Linux, file: &Lent) -> bool {
        memory::is_memory(file)
    }

    fn object_id(&self, _: &Linux, file: &Lent) -> u64 {
        memfd::object_id(file)
    }

    fn bytes(&self, _: &Linux, file: &Lent) -> u64 {
        file::bytes(file)
    }

    /// # Errors
    /// EOPNOTSUPP for memory that is not shared with the host, all of it; ENOENT if its machine is
    /// not preserved in the session; EBUSY if somebody fills it or punches a hole, and does not end;
    /// EFBIG; ENOMEM.
    fn preserve(&self, linux: &Linux, of: &Subject, file: &Lent) -> Result<(u64, Kept), Errno> {
        let mut note = note_of(linux, of, file)?;
        let still = wait_for_holder(linux, of, Files::Memfds, |patience| {
            Still::begin_guest(file, patience)
        })?;
        let mut page = linux.alloc_block()?;
        let (address, preserved) = Preserved::new(linux, of, FORMAT, still)?;
        note.pages = address;
        write(page.bytes(), &note);
        let (data, _note) = (page.address(), page);
        Ok((data, Kept { _note, preserved }))
    }

    /// # Errors
    /// EBUSY if somebody brings a page in and does not end; otherwise as for [`Self::preserve`].
    fn freeze(&self, linux: &Linux, file: &Lent, kept: &mut Kept) -> Result<(), Errno> {
        let memory = memory::Memory::of(file).ok_or(Errno::EINVAL)?;
        memory.freeze();
        // Everybody waits for the freeze: only a page that is on its way is waited for.
        let still = wait::patiently(&mut { 0 }, || memory.is_still());
        let frozen = still.and_then(|()| kept.preserved.look_again(linux, FORMAT));
        frozen.inspect_err(|_| memory.thaw())
    }

    fn unfreeze(&self, _: &Linux, file: &Lent, _: &mut Kept) {
        if let Some(memory) = memory::Memory::of(file) {
            memory.thaw();
        }
    }

    fn unpreserve(&self, _: &Linux, file: &Lent) {
        if let Some(memory) = memory::Memory::of(file) {
            memory.thaw();
        }
    }

    /// # Errors
    /// `Now` if memory is short; `Ever` if what was left is damaged, or not that machine's.
    fn retrieve(&self, linux: &Linux, of: &Subject, data: u64) -> Result<Lent, Unrestored> {
        let half = match linux.take_half(data) {
            Some(half) => half,
            None => begin(linux, of, data)?,
        };
        let file = pages::go_on(linux, of, half, data);
        if !matches!(file, Err(Unrestored::Now(_))) {
            linux.free_page(data);
        }
        file
    }

    fn discard(&self, linux: &Linux, data: u64) {
        if let Some(half) = linux.take_half(data) {
            half.free();
            linux.free_page(data);
            return;
        }
        match read_note(linux, data) {
            Ok(note) => free(linux, data, &note),
            Err(why) => linux.unread(note::GUEST_MEMFD, data, why),
        }
    }

    fn finish(&self, linux: &Linux, data: u64) {
        pages::forget(linux, data);
    }
}

/// Frees what nobody gets: the pages, and the note.
fn free(linux: &Linux, data: u64, note: &GuestMemfd) {
    pages::discard(FORMAT, note.pages);
    linux.free_page(data);
}

/// Reads what was left, and makes a file for it, of the machine that has come back.
fn begin(linux: &Linux, of: &Subject, data: u64) -> Result<Half, Unrestored> {
    let note = read_note(linux, data).map_err(|why| {
        // Whose the pages are cannot be told: they stay reserved until the next reboot.
        linux.unread(note::GUEST_MEMFD, data, why);
        Unrestored::Ever(why.errno())
    })?;
    let machine = ops::needed_file(linux, of, note.machine).map_err(|why| why.errno());
    // Another machine's memory would be in the wrong guest.
    let machine = machine.and_then(|file| {
        let found = machine::look(&file).map_err(errno::of_kernel)?;
        let (own, due) = (found.identity, note.identity);
        if own == due {
            Ok(file)
        } else {
            Err(Errno::EINVAL)
        }
    });
    let machine = machine.map_err(|errno| {
        free(linux, data, &note);
        Unrestored::Ever(errno)
    })?;
    let flags = note.flags;
    let begun = Half::begin(FORMAT, note.pages, |facts, _| {
        let file = memory::make(&machine, facts.size, flags)?;
        Made::guest(file, facts)
    });
    begun.inspect_err(|why| {
        if matches!(why, Unrestored::Ever(_)) {
            linux.free_page(data);
        }
    })
}
