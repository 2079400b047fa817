// SPDX-License-Identifier: GPL-2.0-only

//! Memory that a device works on, also while one kernel makes room for the next.

use core::ptr::NonNull;

use crate::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::to_result,
    page::PAGE_SIZE,
    prelude::*, //
};

/// A page that a device reads and writes by itself, below 4 GiB. It can be kept for the next kernel.
///
/// The device writes to it whenever it likes, so nobody has a reference to the bytes: they are
/// copied.
///
/// # Invariants
///
/// `bytes` points to a page in the linear mapping that is ours. `is_kept` says whether it is
/// preserved by Kexec HandOver.
pub struct DevicePage {
    bytes: NonNull<u8>,
    is_kept: bool,
}

// SAFETY: A page belongs to no task.
unsafe impl Send for DevicePage {}

impl DevicePage {
    /// A page of zeros.
    ///
    /// # Errors
    ///
    /// - [`EOPNOTSUPP`] if the device has other addresses than memory has: what it works on is then
    ///   known to an IOMMU, which does not go along.
    /// - [`ENOMEM`].
    pub fn new(device: &Device<Bound>) -> Result<Self> {
        // SAFETY: May sleep, and is called from contexts that may.
        let bytes = NonNull::new(unsafe { bindings::luo_alloc_low_page() }).ok_or(ENOMEM)?;
        // INVARIANT: It was just allocated.
        let page = Self {
            bytes: bytes.cast(),
            is_kept: false,
        };
        // SAFETY: The device is bound, the page is ours, and no device uses it meanwhile.
        if !unsafe { bindings::luo_is_mapped_directly(device.as_raw(), bytes.as_ptr()) } {
            return Err(EOPNOTSUPP);
        }
        Ok(page)
    }

    /// The page that the previous kernel has kept at an address, which is untrusted.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there is none, or it has been taken back.
    pub fn take_back(address: u64) -> Result<Self> {
        // SAFETY: Takes any address.
        let bytes = NonNull::new(unsafe { bindings::luo_take_page_back(address) });
        // INVARIANT: It was preserved, and now is ours.
        Ok(Self {
            bytes: bytes.ok_or(EINVAL)?.cast(),
            is_kept: false,
        })
    }

    /// Its address, for the device and for the next kernel.
    pub fn address(&self) -> u64 {
        // SAFETY: By the type's invariant it is a page of the linear mapping.
        unsafe { bindings::virt_to_phys(self.bytes.as_ptr().cast()) }
    }

    /// Keeps the page for the next kernel.
    ///
    /// # Errors
    ///
    /// [`EBUSY`] if it is kept, or what Kexec HandOver says.
    pub fn keep(&mut self) -> Result {
        if self.is_kept {
            return Err(EBUSY);
        }
        // SAFETY: By the type's invariant it is a page of ours that is not preserved.
        to_result(unsafe { bindings::luo_preserve_page(self.bytes.as_ptr().cast()) })?;
        // INVARIANT: It is preserved.
        self.is_kept = true;
        Ok(())
    }

    /// Undoes [`keep`](Self::keep).
    pub fn let_go(&mut self) {
        if self.is_kept {
            // SAFETY: By the type's invariant it is a page of ours that is preserved.
            unsafe { bindings::luo_unpreserve_page(self.bytes.as_ptr().cast()) };
            // INVARIANT: It is not preserved any more.
            self.is_kept = false;
        }
    }

    /// Copies what is on the page now, from its start, as much as there is room for.
    pub fn read(&self, to: &mut [u8]) {
        for (at, byte) in to.iter_mut().enumerate().take(PAGE_SIZE) {
            // SAFETY: `at` is within the page, which is ours by the type's invariant. The device may
            // write to it meanwhile: the access is volatile.
            *byte = unsafe { self.bytes.as_ptr().add(at).read_volatile() };
        }
    }

    /// Writes bytes onto the page, from its start, as many as there is room for.
    pub fn write(&mut self, bytes: &[u8]) {
        for (at, byte) in bytes.iter().enumerate().take(PAGE_SIZE) {
            // SAFETY: As of `read`.
            unsafe { self.bytes.as_ptr().add(at).write_volatile(*byte) };
        }
    }
}

impl Drop for DevicePage {
    fn drop(&mut self) {
        self.let_go();
        // SAFETY: By the type's invariant it is ours to give back.
        unsafe { bindings::luo_free_low_page(self.bytes.as_ptr().cast()) }
    }
}
