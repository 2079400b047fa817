// SPDX-License-Identifier: MIT OR Apache-2.0
//! Named memory that survives.

use core::ffi::{c_char, c_int, c_void};
use std::os::fd::AsRawFd;

use luo_client::Session;
use luo_client::memory::{MAX_METADATA, MAX_NAME, Regions};
use rustix::io::Errno;

use crate::border::{Out, array, call, descriptor, exclusive, fill, free, shared, text};
use crate::error::Failure;

/// Named regions of memory and the program's own bytes beside them.
pub struct luo_regions {
    regions: Regions,
}

/// A region of memory, to be mapped.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct luo_region {
    /// Bytes.
    pub size: u64,
    /// Its token in the session.
    pub token: u64,
    /// A memfd. It belongs to the regions and is open until they are freed.
    pub fd: c_int,
}

fn handle(regions: Regions) -> *mut luo_regions {
    Box::into_raw(Box::new(luo_regions { regions }))
}

/// Makes an empty set of regions. Gives 0. `luo_regions_free` frees it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_regions_new(regions: *mut *mut luo_regions) -> c_int {
    call(|| {
        // SAFETY: the caller keeps the rules of the crate.
        let out = unsafe { Out::new(regions, "regions") }?;
        out.set(handle(Regions::new()));
        Ok(0)
    })
}

/// Closes and frees regions; NULL is allowed. Mappings stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_regions_free(regions: *mut luo_regions) {
    // SAFETY: the caller keeps the rules of the crate, and `handle` has made it.
    unsafe { free(regions) }
}

/// Makes a region of `size` bytes, all zero, with a name of 1 to 128 bytes. Gives 0, or
/// EEXIST: there is one of that name; EINVAL: not a name or a size; ENOSPC: there are
/// 4,096.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_regions_create(
    regions: *mut luo_regions,
    name: *const c_char,
    size: u64,
) -> c_int {
    call(|| {
        // SAFETY: the caller keeps the rules of the crate.
        let (regions, name) = unsafe {
            let name = text(name, MAX_NAME, "the region's name")?;
            (exclusive(regions, "regions")?, name)
        };
        regions.regions.create(name, size)?;
        Ok(0)
    })
}

/// Fills in the facts of a region. Gives 0, or ENOENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_regions_get(
    regions: *const luo_regions,
    name: *const c_char,
    region: *mut luo_region,
) -> c_int {
    call(|| {
        // SAFETY: the caller keeps the rules of the crate.
        let (regions, name, out) = unsafe {
            let name = text(name, MAX_NAME, "the region's name")?;
            (
                shared(regions, "regions")?,
                name,
                Out::new(region, "region")?,
            )
        };
        let found = regions
            .regions
            .get(name)
            .ok_or_else(|| Failure::new(Errno::NOENT, format!("there is no region '{name}'")))?;
        out.set(luo_region {
            size: found.size(),
            token: found.token().0,
            fd: found.file().as_raw_fd(),
        });
        Ok(0)
    })
}

/// Sets the program's own bytes, 1 MiB at most, which travel with the regions. They are
/// written when the regions are preserved. Gives 0, or E2BIG.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_regions_set_metadata(
    regions: *mut luo_regions,
    bytes: *const c_void,
    length: usize,
) -> c_int {
    call(|| {
        // SAFETY: the caller keeps the rules of the crate.
        let (regions, bytes) = unsafe {
            let bytes = array(bytes.cast::<u8>(), length, MAX_METADATA, "the metadata")?;
            (exclusive(regions, "regions")?, bytes)
        };
        regions.regions.set_metadata(bytes)?;
        Ok(0)
    })
}

/// Copies the program's own bytes into a buffer of `size` bytes. Gives their number, or
/// ERANGE: the buffer is too small.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_regions_metadata(
    regions: *const luo_regions,
    buffer: *mut c_void,
    size: usize,
) -> c_int {
    call(|| {
        // SAFETY: the caller keeps the rules of the crate.
        let regions = unsafe { shared(regions, "regions") }?;
        let bytes = regions.regions.metadata();
        // SAFETY: as above.
        unsafe { fill(buffer, size, bytes) }?;
        c_int::try_from(bytes.len())
            .map_err(|_| Failure::new(Errno::RANGE, "there is too much metadata"))
    })
}

/// Preserves all regions in a session, under tokens 0 to 4,096. Gives 0, or an error of
/// `luo_session_preserve_fd`; what was preserved is taken back then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_regions_preserve_into(
    regions: *const luo_regions,
    session: c_int,
) -> c_int {
    call(|| {
        // SAFETY: the caller keeps the rules of the crate.
        let (regions, fd) = unsafe { (shared(regions, "regions")?, descriptor(session)?) };
        regions.regions.preserve_into(&Session::from_fd(fd))?;
        Ok(0)
    })
}

/// Takes all regions back from a session of the previous kernel. Gives 0, or ENOENT: it
/// has none; EBADMSG: they are damaged; EPROTONOSUPPORT: they are of another version; or
/// an error of `luo_session_retrieve_fd`. Nothing is released then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_regions_restore_from(
    session: c_int,
    regions: *mut *mut luo_regions,
) -> c_int {
    call(|| {
        // SAFETY: the caller keeps the rules of the crate.
        let (fd, out) = unsafe { (descriptor(session)?, Out::new(regions, "regions")?) };
        out.set(handle(Regions::restore_from(&Session::from_fd(fd))?));
        Ok(0)
    })
}
