// SPDX-License-Identifier: MIT OR Apache-2.0
//! `/dev/liveupdate` and its sessions. Both are descriptors, which `close` closes.

use core::ffi::{c_char, c_int, c_void};

use luo_client::kernel::{Needed, kexec};
use luo_client::{Device, Session, Token};
use rustix::io::Errno;

use crate::border::{bytes, call, descriptor, fill, give, session_name};
use crate::error::Failure;

/// Bytes of a command line, its end not included.
const MAX_COMMAND_LINE: usize = 4095;

/// Opens `/dev/liveupdate`. Gives a descriptor, or EBUSY: somebody holds it; EIO: what
/// was handed over could not be taken over; ENOENT: live update is not there; EACCES.
#[unsafe(no_mangle)]
pub extern "C" fn luo_device_open() -> c_int {
    call(|| Ok(give(Device::open()?)))
}

/// Makes a session for the next kernel, with a name of 1 to 63 bytes. Gives its
/// descriptor, or EEXIST; ENOSPC; EINVAL: not a name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_device_create_session(device: c_int, name: *const c_char) -> c_int {
    call(|| {
        // SAFETY: the caller keeps the rules of the crate.
        let (device, name) = unsafe { (descriptor(device)?, session_name(name)?) };
        Ok(give(Device::from_fd(device).create_session(&name)?))
    })
}

/// Takes back a session of the previous kernel. Gives its descriptor, or ENOENT: there is
/// none of this name; EINVAL: it was retrieved already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_device_retrieve_session(device: c_int, name: *const c_char) -> c_int {
    call(|| {
        // SAFETY: the caller keeps the rules of the crate.
        let (device, name) = unsafe { (descriptor(device)?, session_name(name)?) };
        Ok(give(Device::from_fd(device).retrieve_session(&name)?))
    })
}

/// # Safety
/// The rules of the crate.
unsafe fn session(fd: c_int) -> Result<Session, Failure> {
    // SAFETY: the caller's promise is the same.
    unsafe { descriptor(fd) }.map(Session::from_fd)
}

/// Preserves a file in a session. Gives 0, or EEXIST: the token is taken; EBUSY: the file
/// is preserved already; ENOENT: no handler knows this kind of file; EBADF; ENOSPC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_session_preserve_fd(session: c_int, fd: c_int, token: u64) -> c_int {
    call(|| {
        // SAFETY: the caller keeps the rules of the crate.
        let (session, fd) = unsafe { (self::session(session)?, descriptor(fd)?) };
        session.preserve_fd(fd, Token(token))?;
        Ok(0)
    })
}

/// Takes one file back out of a session for the next kernel. Gives 0, or ENOENT; EBUSY:
/// the file took part in a prepare; ENOTTY, EINVAL: the kernel cannot do that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_session_unpreserve_fd(session: c_int, token: u64) -> c_int {
    call(|| {
        // SAFETY: the caller keeps the rules of the crate.
        let session = unsafe { self::session(session) }?;
        session.unpreserve_fd(Token(token))?;
        Ok(0)
    })
}

/// Freezes a session for the next kernel before all others are, so that it does not make the
/// blackout of all longer. From then on it does not change, and what is written to its files may
/// not arrive; closing it undoes that. Gives 0, or EBUSY: it is frozen already, or another session
/// that needs it is to be frozen first; EINVAL: it is of the previous kernel; ENOLINK: a file needs
/// one that is not there; ENOTTY, EINVAL: the kernel cannot do that; or what a file's handler says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_session_freeze(session: c_int) -> c_int {
    call(|| {
        // SAFETY: the caller keeps the rules of the crate.
        let session = unsafe { self::session(session) }?;
        session.freeze()?;
        Ok(0)
    })
}

/// Takes back a file. Gives its descriptor, or ENOENT: nothing was preserved under this
/// token; ENOTCONN: it needs a file that its owner has not taken back yet, so try again;
/// EAGAIN: its handler is not here yet, so try again when its kernel module is loaded;
/// ENOTRECOVERABLE: the reboot could not hand it over, and it is lost; or an error of its
/// handler, which is final.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_session_retrieve_fd(session: c_int, token: u64) -> c_int {
    call(|| {
        // SAFETY: the caller keeps the rules of the crate.
        let session = unsafe { self::session(session) }?;
        Ok(give(session.retrieve_fd(Token(token))?))
    })
}

/// Says that a file needs another of the same session. Gives 0, or ENOENT; ELOOP; EEXIST;
/// EBUSY: the file took part in a prepare; ENOTTY, EINVAL: the kernel cannot do that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_session_add_dependency(session: c_int, token: u64, on: u64) -> c_int {
    call(|| {
        // SAFETY: the caller keeps the rules of the crate.
        let session = unsafe { self::session(session) }?;
        session.add_dependency(Token(token), Needed::Here(Token(on)))?;
        Ok(0)
    })
}

/// Writes a session's name and a zero into a buffer, which takes up to 64 bytes. Gives
/// the name's length, or ERANGE: the buffer is too small; ENOTTY: not a session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_session_name(
    session: c_int,
    buffer: *mut c_char,
    size: usize,
) -> c_int {
    call(|| {
        // SAFETY: the caller keeps the rules of the crate.
        let session = unsafe { self::session(session) }?;
        let name = session.name()?;
        let text = [name.as_bytes(), &[0]].concat();
        // SAFETY: as above.
        unsafe { fill(buffer.cast::<c_void>(), size, &text) }?;
        c_int::try_from(name.as_bytes().len())
            .map_err(|_| Failure::new(Errno::RANGE, "the name is too long"))
    })
}

/// Ends a session of the previous kernel: files that nobody retrieved are released. Gives
/// 0, or EBUSY: a file cannot be let go of yet; EINVAL: it is for the next kernel.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_session_finish(session: c_int) -> c_int {
    call(|| {
        // SAFETY: the caller keeps the rules of the crate.
        let session = unsafe { self::session(session) }?;
        session.finish()?;
        Ok(0)
    })
}

/// Loads the next kernel: an image, an initrd or -1 for none, and a command line. Gives
/// 0, or an error of the kernel. An agent does this for its workloads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_kexec_load(
    kernel: c_int,
    initrd: c_int,
    command_line: *const c_char,
) -> c_int {
    call(|| {
        // SAFETY: the caller keeps the rules of the crate.
        let (kernel, line) = unsafe {
            let line = bytes(command_line, MAX_COMMAND_LINE, "the command line")?;
            (descriptor(kernel)?, line)
        };
        let initrd = match initrd {
            -1 => None,
            // SAFETY: as above.
            fd => Some(unsafe { descriptor(fd) }?),
        };
        let line = std::ffi::CString::new(line)
            .map_err(|_| Failure::new(Errno::INVAL, "the command line has a zero byte"))?;
        kexec::load(&kernel, initrd, &line)?;
        Ok(0)
    })
}

/// Jumps into the kernel that was loaded. It returns only if that is refused.
#[unsafe(no_mangle)]
pub extern "C" fn luo_kexec_execute() -> c_int {
    call(|| Err(kexec::execute().into()))
}
