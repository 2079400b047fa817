// SPDX-License-Identifier: GPL-2.0-only

//! Pages that go over to the next kernel: what handlers write down of their files.

use core::{
    mem::{
        size_of,
        MaybeUninit, //
    },
    ptr::NonNull, //
};

use zerocopy::Immutable;

use crate::{
    bindings,
    error::from_err_ptr,
    page::PAGE_SIZE,
    prelude::*, //
};

/// A page that stays where it is over a kexec, and is not used for anything else in the next
/// kernel.
///
/// It is charged to the memory cgroup of who asks for it, and taken back by dropping it.
///
/// # Invariants
///
/// Points to a page of `luo_alloc_preserved_page()` that nobody else refers to.
pub struct PreservedPage(NonNull<u8>);

// SAFETY: A page belongs to no task.
unsafe impl Send for PreservedPage {}
// SAFETY: As above; without `&mut` nothing is written.
unsafe impl Sync for PreservedPage {}

impl PreservedPage {
    /// A page of zeros.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`], and nobody is killed for it.
    pub fn new() -> Result<Self> {
        // SAFETY: May sleep, and is called where that may be.
        let page = from_err_ptr(unsafe { bindings::luo_alloc_preserved_page() })?;
        // INVARIANT: Just allocated.
        NonNull::new(page.cast()).map(Self).ok_or(ENOMEM)
    }

    /// Where it is, in this kernel and in the next.
    pub fn address(&self) -> u64 {
        // SAFETY: By the type's invariant this is a page of the linear mapping.
        unsafe { bindings::virt_to_phys(self.0.as_ptr().cast()) }
    }

    /// Writes a value to its start.
    pub fn write<T: IntoBytes + Immutable>(&mut self, value: &T) {
        const { assert!(size_of::<T>() <= PAGE_SIZE) };
        let bytes = value.as_bytes();
        // SAFETY: By the type's invariant the page is ours alone, so it is not where the bytes
        // are; they fit.
        unsafe {
            self.0
                .as_ptr()
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        };
    }
}

impl Drop for PreservedPage {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant it is ours to give back.
        unsafe { bindings::kho_unpreserve_free(self.0.as_ptr().cast()) }
    }
}

/// A page that the previous kernel has preserved: who has left its address says that it is his.
///
/// It stays kept, whatever becomes of this, until [`free`](Self::free).
///
/// # Invariants
///
/// Points to a page in the linear mapping that Kexec HandOver has kept. It is memory, and stays
/// mapped whatever becomes of it. To whom a wrong handover gives the same page may write to it at
/// any time.
pub struct HandedPage(NonNull<u8>);

impl HandedPage {
    /// The page at an address that the previous kernel has left, which may be any number.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if no page is kept there.
    pub fn at(address: u64) -> Result<Self> {
        // SAFETY: Takes any address.
        let page = unsafe { bindings::liveupdate_handed_page(address) };
        // INVARIANT: The callee says that the page is kept, and where it is mapped.
        NonNull::new(page.cast()).map(Self).ok_or(EINVAL)
    }

    /// Reads a value at its start. It can be any: whoever has written it may have been broken.
    pub fn read<T: FromBytes>(&self) -> T {
        const { assert!(size_of::<T>() <= PAGE_SIZE) };
        let mut value = MaybeUninit::<T>::uninit();
        let to = value.as_mut_ptr().cast::<u8>();
        for at in 0..size_of::<T>() {
            // SAFETY: By the type's invariant the page is mapped, and the value fits on it. The
            // page may change meanwhile, hence the volatile read.
            unsafe { to.add(at).write(self.0.as_ptr().add(at).read_volatile()) };
        }
        // SAFETY: Each byte is written, and any bytes are a `T`.
        unsafe { value.assume_init() }
    }

    /// Gives the page at an address to the allocator, once and for all. Nothing happens if no
    /// page is kept there.
    ///
    /// For [`finish`](crate::liveupdate::FileHandler::finish), and only if what is on the page says
    /// that it is the caller's: whose a page is that is damaged nobody knows, so it stays kept
    /// until the next reboot.
    pub fn free(address: u64) {
        // SAFETY: Takes any address. Nobody relies on what is on the page: by the type's
        // invariant it stays mapped.
        unsafe { bindings::liveupdate_free_handed_page(address) }
    }
}
