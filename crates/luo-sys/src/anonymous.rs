// SPDX-License-Identifier: MIT OR Apache-2.0
//! Private memory that an ioctl may scribble over.

use core::ffi::c_void;
use core::ptr;

use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

/// A private anonymous mapping that nothing in the program refers to.
///
/// # Invariants
/// `pointer` is the start of a mapping of [`Anonymous::LENGTH`] bytes that this
/// value alone owns; no reference to its bytes is ever made, so the kernel may
/// change them at any time.
pub(crate) struct Anonymous {
    pointer: *mut c_void,
}

/// What the program, and therefore the kernel on its behalf, may do with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read and write.
    ReadWrite,
    /// Read only: a copy from user space works, a copy to it fails.
    Read,
    /// Nothing: both copies fail.
    Nothing,
}

impl Anonymous {
    /// 16 pages of 4 KiB, many times of what any size-first ioctl writes.
    pub(crate) const LENGTH: usize = 16 * 4096;

    /// A mapping that starts with `bytes`, followed by zeros.
    ///
    /// # Errors
    /// ENOMEM; E2BIG if `bytes` do not fit.
    pub(crate) fn with(bytes: &[u8], access: Access) -> Result<Self, Errno> {
        if bytes.len() > Self::LENGTH {
            return Err(Errno::TOOBIG);
        }
        // SAFETY: a new mapping at an address of the kernel's choice replaces
        // nothing.
        let pointer = unsafe {
            rustix::mm::mmap_anonymous(
                ptr::null_mut(),
                Self::LENGTH,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        let mapping = Self { pointer };
        // SAFETY: the mapping is writable, LENGTH bytes long, and cannot
        // overlap `bytes`, which existed before it; the length was checked.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), mapping.pointer.cast(), bytes.len()) };
        mapping.protect(access)?;
        Ok(mapping)
    }

    fn protect(&self, access: Access) -> Result<(), Errno> {
        let flags = match access {
            Access::ReadWrite => return Ok(()),
            Access::Read => MprotectFlags::READ,
            Access::Nothing => MprotectFlags::empty(),
        };
        // SAFETY: this value owns the mapping and holds no reference into it.
        unsafe { rustix::mm::mprotect(self.pointer, Self::LENGTH, flags) }
    }

    /// The mapping's address. Whoever uses it must not touch more than
    /// [`Anonymous::LENGTH`] bytes, nor any after this value is dropped.
    pub(crate) fn pointer(&self) -> *mut c_void {
        self.pointer
    }

    /// Copies the first bytes of a readable and writable mapping into `bytes`.
    pub(crate) fn read_into(&self, bytes: &mut [u8]) {
        let length = bytes.len().min(Self::LENGTH);
        // SAFETY: `raw` and `test_driver` call this, on mappings they made readable; the
        // length is within both, and they cannot overlap.
        unsafe { ptr::copy_nonoverlapping(self.pointer.cast(), bytes.as_mut_ptr(), length) };
    }
}

impl Drop for Anonymous {
    fn drop(&mut self) {
        // SAFETY: by the invariant nobody refers to the mapping. A failure
        // leaks it, which is harmless.
        let _ = unsafe { rustix::mm::munmap(self.pointer, Self::LENGTH) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_in_and_out() {
        let mapping = Anonymous::with(b"luo", Access::Read).unwrap();
        let mut bytes = [0xff; 5];
        mapping.read_into(&mut bytes);
        assert_eq!(&bytes, b"luo\0\0");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let bytes = vec![0; Anonymous::LENGTH + 1];
        assert!(Anonymous::with(&bytes, Access::ReadWrite).is_err());
    }
}
