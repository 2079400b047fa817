// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loading the next kernel, and leaving this one.
//!
//! All of it needs `CAP_SYS_BOOT`.

use core::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd};

use rustix::system::RebootCommand;

use crate::error::{Error, Result};

/// From `linux/kexec.h`: drop the image that is loaded.
const KEXEC_FILE_UNLOAD: libc::c_ulong = 0x1;
/// From `linux/kexec.h`: there is no initrd.
const KEXEC_FILE_NO_INITRAMFS: libc::c_ulong = 0x4;

/// Loads the kernel that [`execute`] jumps into. The image and the initrd are
/// read from the files' beginning and copied; they can be closed afterwards.
///
/// ```no_run
/// use std::fs::File;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let kernel = File::open("/boot/vmlinuz")?;
/// let initrd = File::open("/boot/initrd.img")?;
/// luo_sys::kexec::load(&kernel, Some(&initrd), c"console=ttyS0 liveupdate=on")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// - EPERM: without the capability, or kexec is switched off.
/// - ENOEXEC: not a kernel image.
/// - EBUSY: another kexec call is under way.
/// - EINVAL: the command line is longer than the next kernel takes.
/// - ENOMEM, EBADF, and read errors.
pub fn load(kernel: impl AsFd, initrd: Option<impl AsFd>, command_line: &CStr) -> Result<()> {
    let initrd = initrd.as_ref().map(AsFd::as_fd);
    let (initrd, flags) = match &initrd {
        Some(fd) => (fd.as_raw_fd(), 0),
        None => (-1, KEXEC_FILE_NO_INITRAMFS),
    };
    call(kernel.as_fd().as_raw_fd(), initrd, command_line, flags)
}

/// Drops the image that [`load`] loaded, if any.
///
/// # Errors
/// EPERM, EBUSY as [`load`].
pub fn unload() -> Result<()> {
    call(-1, -1, c"", KEXEC_FILE_UNLOAD)
}

/// `struct kexec_segment` of `linux/kexec.h`.
#[repr(C)]
struct Segment {
    buffer: *const libc::c_void,
    buffer_bytes: usize,
    address: usize,
    bytes: usize,
}

/// Loads a page as an image that takes nothing over, as `kexec -c` does: for tests of what
/// is refused with such an image. It is no kernel: a jump into it hangs the machine.
/// [`unload`] drops it.
///
/// # Errors
/// - EPERM: without the capability, or kexec is switched off.
/// - ENOSYS: the kernel knows kexec_file_load only.
/// - EADDRNOTAVAIL: there is no memory at the address.
/// - EBUSY, ENOMEM.
pub fn load_legacy(page: &[u8; 4096], address: usize) -> Result<()> {
    let segment = Segment {
        buffer: page.as_ptr().cast(),
        buffer_bytes: page.len(),
        address,
        bytes: page.len(),
    };
    let (segments, flags): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: the kernel reads one segment at the pointer and the page that it names, both
    // of which are borrowed for the call, and writes nothing into this process.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_kexec_load,
            address,
            segments,
            &raw const segment,
            flags,
        )
    };
    match ret {
        0 => Ok(()),
        _ => Err(Error::last("kexec_load")),
    }
}

fn call(kernel: i32, initrd: i32, command_line: &CStr, flags: libc::c_ulong) -> Result<()> {
    // SAFETY: the kernel reads `cmdline_len` bytes at the pointer, which is
    // the length of the borrowed string with its terminating zero, and writes
    // nothing into this process.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            libc::c_long::from(kernel),
            libc::c_long::from(initrd),
            command_line.to_bytes_with_nul().len(),
            command_line.as_ptr(),
            flags,
        )
    };
    match ret {
        0 => Ok(()),
        _ => Err(Error::last("kexec_file_load")),
    }
}

/// Jumps into the loaded kernel, live update included. Returns only if that
/// was refused, and then everything goes on as before.
///
/// # Errors (returned, there is no success)
/// - EINVAL: no image is loaded.
/// - EPERM: without the capability.
/// - EBUSY: another kexec call is under way.
/// - Whatever a file's handler answered when it was asked to freeze.
#[must_use]
pub fn execute() -> Error {
    leave("reboot(KEXEC)", RebootCommand::Kexec)
}

/// Switches the machine off. Returns only if that was refused.
///
/// # Errors (returned, there is no success)
/// EPERM: without the capability.
#[must_use]
pub fn power_off() -> Error {
    leave("reboot(POWER_OFF)", RebootCommand::PowerOff)
}

/// Restarts the machine. Returns only if that was refused.
///
/// # Errors (returned, there is no success)
/// EPERM: without the capability.
#[must_use]
pub fn restart() -> Error {
    leave("reboot(RESTART)", RebootCommand::Restart)
}

fn leave(call: &'static str, command: RebootCommand) -> Error {
    let errno = match rustix::system::reboot(command) {
        Err(errno) => errno,
        // The kernel never reports success here; if it did, we would still be
        // in the old kernel, which is a failure.
        Ok(()) => rustix::io::Errno::IO,
    };
    Error::of(call)(errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_kernel_is_not_loaded() {
        let file = crate::memfd::create("kernel", 4096).unwrap();
        // EPERM without the capability, ENOEXEC with it, ENOSYS in a sandbox.
        let error = load(&file, None::<std::fs::File>, c"quiet").unwrap_err();
        assert_eq!(error.call(), "kexec_file_load");
    }
}
