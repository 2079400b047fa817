// SPDX-License-Identifier: GPL-2.0-only
//! Memory that survives a kexec: Kexec HandOver.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::error::{from_err_ptr, to_result};
use kernel::ffi::c_void;
use kernel::prelude::*;
use luo_abi::handover::BLOCK_SIZE;
use luo_core::{BlockMemory, HandedMemory, PageError};

/// An entry in KHO's root tree.
#[derive(Clone, Copy)]
pub(crate) enum Entry {
    /// The entry that mainline's orchestrator has too.
    Luo,
    /// The entry of the supplement, beside it.
    Supplement,
    /// How many huge pages there are in files.
    HugePages,
}

impl Entry {
    /// `ENTRY_NAME` of `luo_abi::handover` and of `luo_abi::supplement`, and `POOLS_ENTRY` of
    /// `luo_abi::memfd`, for C.
    const fn name(self) -> &'static CStr {
        match self {
            Self::Luo => c"LUO",
            Self::Supplement => c"LUO-CONTRACT",
            Self::HugePages => c"LUO-HUGETLB",
        }
    }
}

const _: () = assert!(BLOCK_SIZE == kernel::page::PAGE_SIZE);

/// Whether Kexec HandOver is on.
pub(crate) fn is_enabled() -> bool {
    // SAFETY: May be called in any context.
    unsafe { bindings::kho_is_enabled() }
}

/// Address and length of the entry that the previous kernel made, if it did.
/// Both are untrusted.
pub(crate) fn incoming(entry: Entry) -> Option<(u64, usize)> {
    let mut address: bindings::phys_addr_t = 0;
    let mut len = 0usize;
    // SAFETY: The name is terminated and both results are valid for writes.
    let found = to_result(unsafe {
        bindings::kho_retrieve_subtree(entry.name().as_char_ptr(), &mut address, &mut len)
    });
    match found {
        Ok(()) => Some((address, len)),
        Err(ENOENT) => None,
        // An entry that is broken in itself: an address that is never valid
        // makes the engine refuse it, like any other damage.
        Err(_) => Some((u64::MAX, usize::MAX)),
    }
}

/// Makes the page at `address` known to the next kernel, as `len` bytes.
pub(crate) fn add(entry: Entry, address: u64, len: usize) -> Result {
    // SAFETY: The name is terminated. The callee only records the address; that
    // the page stays preserved is the engine's business, who holds it for good.
    to_result(unsafe {
        bindings::kho_add_subtree(
            entry.name().as_char_ptr(),
            bindings::phys_to_virt(address),
            len,
        )
    })
}

/// Undoes [`add`].
pub(crate) fn remove(address: u64) {
    // SAFETY: The callee only looks for the entry with this address.
    unsafe { bindings::kho_remove_subtree(bindings::phys_to_virt(address)) }
}

/// A page that reaches the next kernel.
///
/// # Invariants
///
/// Points to a page of `luo_alloc_preserved_page()` that nobody else refers to.
pub(crate) struct PreservedPage(NonNull<u8>);

impl PreservedPage {
    /// A zeroed page, charged to the caller's memory cgroup. No OOM killer makes room for
    /// it.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: May sleep, and is called from contexts that may.
        let page = from_err_ptr(unsafe { bindings::luo_alloc_preserved_page() })?;
        // INVARIANT: Just allocated.
        NonNull::new(page.cast()).map(Self).ok_or(ENOMEM)
    }
}

impl BlockMemory for PreservedPage {
    fn address(&self) -> u64 {
        // SAFETY: By the type's invariant this is a page of the linear mapping.
        unsafe { bindings::virt_to_phys(self.0.as_ptr().cast()) }
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: By the type's invariant these bytes are ours alone, and they
        // were zeroed when they were allocated.
        unsafe { core::slice::from_raw_parts_mut(self.0.as_ptr(), BLOCK_SIZE) }
    }
}

impl Drop for PreservedPage {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant it is ours to give back.
        unsafe { bindings::kho_unpreserve_free(self.0.as_ptr().cast()) }
    }
}

// SAFETY: A page belongs to no task.
unsafe impl Send for PreservedPage {}

/// A page that the previous kernel preserved.
///
/// # Invariants
///
/// Points to a page in the linear mapping that the previous kernel has preserved: memory,
/// which stays mapped whatever becomes of it. KHO keeps it from the allocator until it is
/// given away by [`give_to_allocator`], which the engine does after it has read all pages.
/// A driver to whom a wrong handover gives the same page may write to it at any time.
pub(crate) struct HandedPage(NonNull<u8>);

impl HandedPage {
    /// The page at an untrusted address.
    pub(crate) fn at(address: u64) -> Result<Self, PageError> {
        if address % BLOCK_SIZE as u64 != 0 {
            return Err(PageError::Unaligned);
        }
        // SAFETY: Takes any address and touches nothing but the page's own
        // descriptor, if there is one.
        if !unsafe { bindings::kho_is_preserved_page(address) } {
            return Err(PageError::NotPreserved);
        }
        // SAFETY: There is a page at the address, in the linear mapping.
        let page = unsafe { bindings::phys_to_virt(address) };
        // INVARIANT: KHO said that it keeps the page.
        NonNull::new(page.cast())
            .map(Self)
            .ok_or(PageError::NotPreserved)
    }

    /// Where it is mapped, for handlers of others.
    pub(super) fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr().cast()
    }
}

/// Bytes that are copied in one piece where that is possible.
const WORD: usize = size_of::<u64>();

impl HandedMemory for HandedPage {
    fn copy(&self, offset: usize, to: &mut [u8]) -> bool {
        if offset
            .checked_add(to.len())
            .is_none_or(|end| end > BLOCK_SIZE)
        {
            return false;
        }
        // Records are words, at multiples of a word.
        let words = to.len() % WORD == 0 && offset % WORD == 0;
        let mut at = offset;
        if words {
            for word in to.chunks_exact_mut(WORD) {
                // SAFETY: By the type's invariant the page is mapped; the word is on it and
                // aligned. It may change meanwhile, hence the volatile read of it.
                let found = unsafe { self.0.as_ptr().add(at).cast::<u64>().read_volatile() };
                if let Ok(word) = <&mut [u8; WORD]>::try_from(word) {
                    *word = found.to_ne_bytes();
                }
                at = at.wrapping_add(WORD);
            }
        } else {
            for byte in to {
                // SAFETY: As above.
                *byte = unsafe { self.0.as_ptr().add(at).read_volatile() };
                at = at.wrapping_add(1);
            }
        }
        true
    }
}

/// The right to give away what the previous kernel preserved: between the look at a page and
/// what comes of it nobody else looks at it.
pub(crate) struct Handed(());

impl Handed {
    /// Waits for whoever has it.
    pub(crate) fn lock() -> Self {
        // SAFETY: Called as a task that may sleep; the lock is given back when this is dropped.
        unsafe { bindings::luo_shim_lock_handed() };
        Self(())
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        // SAFETY: It was locked by this task.
        unsafe { bindings::luo_shim_unlock_handed() }
    }
}

/// Gives a page that the previous kernel preserved to the allocator. Nothing happens if there is
/// none at the address. Nobody else gives pages away meanwhile: two files that are damaged may
/// name the same one.
pub(crate) fn give_to_allocator(address: u64) {
    let _alone = Handed::lock();
    if let Ok(page) = HandedPage::at(address) {
        // SAFETY: KHO keeps the page still, so it can be restored, once; what was
        // on it has been taken over.
        unsafe { bindings::kho_restore_free(page.0.as_ptr().cast()) }
    }
}
