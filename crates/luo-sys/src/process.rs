// SPDX-License-Identifier: MIT OR Apache-2.0
//! Other processes: their memory and their descriptors.
//!
//! The kernel allows it to whom it would allow to trace them, see ptrace(2),
//! "Ptrace access mode checking".

use core::ffi::c_void;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use crate::error::{Error, Result};

/// Bytes of the smallest page: a transfer that fails at one does not touch the
/// pages before it twice.
const PAGE: u64 = 4096;

/// A process, whatever becomes of its number.
#[derive(Debug)]
pub struct Process {
    fd: OwnedFd,
}

impl Process {
    /// The process of a number.
    ///
    /// # Errors
    /// ESRCH: there is none. EINVAL: it is a thread that leads no process.
    pub fn open(pid: u32) -> Result<Self> {
        Self::open_with(pid, PidfdFlags::empty())
    }

    /// The process that a thread belongs to, as the thread sees its descriptors.
    ///
    /// # Errors
    /// ESRCH: there is none. EINVAL: it does not lead its process, and the kernel
    /// is older than Linux 6.9.
    pub fn of_thread(thread: u32) -> Result<Self> {
        // `PIDFD_THREAD`, which rustix does not name.
        Self::open_with(thread, PidfdFlags::from_bits_retain(libc::O_EXCL as u32))
    }

    fn open_with(pid: u32, flags: PidfdFlags) -> Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(rustix::io::Errno::SRCH);
        pid.and_then(|pid| rustix::process::pidfd_open(pid, flags))
            .map(|fd| Self { fd })
            .map_err(Error::of("pidfd_open"))
    }

    /// A copy of one of its descriptors.
    ///
    /// # Errors
    /// EBADF: it has no such descriptor. EPERM: not allowed. ESRCH: it has ended.
    pub fn descriptor(&self, fd: RawFd) -> Result<OwnedFd> {
        // The number is the program's, and rustix takes none below zero.
        if fd < 0 {
            return Err(Error::of("pidfd_getfd")(rustix::io::Errno::BADF));
        }
        rustix::process::pidfd_getfd(&self.fd, fd, PidfdGetfdFlags::empty())
            .map_err(Error::of("pidfd_getfd"))
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Reads memory of a process, as far as it is readable; gives the bytes read.
///
/// # Errors
/// EFAULT: not even the first. EPERM: not allowed. ESRCH: it has ended.
pub fn read_memory(pid: u32, address: u64, to: &mut [u8]) -> Result<usize> {
    let mut done = 0;
    let pid = raw(pid)?;
    // Page by page: a transfer is all or nothing for each part of it.
    for (at, length) in pages(address, to.len()) {
        let part = &mut to[done..done + length];
        let local = libc::iovec {
            iov_base: part.as_mut_ptr().cast(),
            iov_len: part.len(),
        };
        // SAFETY: the kernel writes to the local part only, which is borrowed
        // exclusively and as long as it says.
        let ret = unsafe { libc::process_vm_readv(pid, &local, 1, &remote(at, length), 1, 0) };
        match usize::try_from(ret) {
            Ok(read) if read == length => done += length,
            Ok(read) => return Ok(done + read),
            Err(_) if done > 0 => return Ok(done),
            Err(_) => return Err(Error::last("process_vm_readv")),
        }
    }
    Ok(done)
}

/// Writes memory of a process, as far as it is writable; gives the bytes written.
///
/// # Errors
/// As [`read_memory`]; EPERM for this process's own.
pub fn write_memory(pid: u32, address: u64, from: &[u8]) -> Result<usize> {
    let mut done = 0;
    let pid = raw(other(pid)?)?;
    for (at, length) in pages(address, from.len()) {
        let part = &from[done..done + length];
        let local = libc::iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        };
        // SAFETY: the kernel only reads the local part, which is borrowed and as
        // long as it says. What it writes belongs to another process: `other` has
        // refused this one.
        let ret = unsafe { libc::process_vm_writev(pid, &local, 1, &remote(at, length), 1, 0) };
        match usize::try_from(ret) {
            Ok(written) if written == length => done += length,
            Ok(written) => return Ok(done + written),
            Err(_) if done > 0 => return Ok(done),
            Err(_) => return Err(Error::last("process_vm_writev")),
        }
    }
    Ok(done)
}

/// Cuts a range at the boundaries of pages.
fn pages(address: u64, length: usize) -> impl Iterator<Item = (u64, usize)> {
    let mut at = address;
    let mut left = length;
    core::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let room = usize::try_from(PAGE - at % PAGE).unwrap_or(left);
        let part = (at, left.min(room));
        at = at.wrapping_add(part.1 as u64);
        left -= part.1;
        Some(part)
    })
}

fn remote(address: u64, length: usize) -> libc::iovec {
    libc::iovec {
        // An address of the other process, never followed here.
        iov_base: core::ptr::without_provenance_mut::<c_void>(address as usize),
        iov_len: length,
    }
}

fn raw(pid: u32) -> Result<i32> {
    i32::try_from(pid).map_err(|_| Error::of("pid")(rustix::io::Errno::SRCH))
}

/// Refuses this process itself: its memory is not to be changed behind its back.
fn other(pid: u32) -> Result<u32> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    // SAFETY: takes numbers only; signal 0 is none, but the kernel looks whether
    // this process has such a thread.
    let is_own = unsafe { libc::syscall(libc::SYS_tgkill, own, raw(pid)?, 0) } == 0;
    if is_own {
        return Err(Error::of("process_vm_writev")(rustix::io::Errno::PERM));
    }
    Ok(pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use luo_abi::errno::Errno;
    use std::os::fd::AsRawFd;

    #[test]
    fn memory_is_read_as_far_as_it_goes() {
        let text = *b"live update";
        let mut room = [0; 11];
        let address = (&raw const text).addr() as u64;
        let read = read_memory(std::process::id(), address, &mut room);
        assert_eq!((read, &room), (Ok(11), &text));
        let error = read_memory(std::process::id(), 8, &mut room).unwrap_err();
        assert_eq!(error.errno(), Errno::EFAULT);
    }

    #[test]
    fn own_memory_is_not_written() {
        let error = write_memory(std::process::id(), 8, b"x").unwrap_err();
        assert_eq!(error.errno(), Errno::EPERM);
    }

    #[test]
    fn ranges_are_cut_at_pages() {
        let cut: Vec<_> = pages(4090, 4110).collect();
        assert_eq!(cut, [(4090, 6), (4096, 4096), (8192, 8)]);
        assert_eq!(pages(0, 0).count(), 0);
    }

    #[test]
    fn descriptors_are_copied() {
        let process = Process::open(std::process::id()).unwrap();
        let file = crate::memfd::create("mine", 3).unwrap();
        let copy = process.descriptor(file.as_raw_fd()).unwrap();
        assert_eq!(std::fs::File::from(copy).metadata().unwrap().len(), 3);
        let error = process.descriptor(1 << 20).unwrap_err();
        assert_eq!(error.errno(), Errno::EBADF);
    }
}
