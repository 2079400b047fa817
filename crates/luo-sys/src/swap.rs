// SPDX-License-Identifier: MIT OR Apache-2.0
//! Room for pages that are swapped out, for tests.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::error::{Error, Result};

fn path_of(device: &Path, call: &'static str) -> Result<CString> {
    CString::new(device.as_os_str().as_bytes())
        .map_err(|_| Error::of(call)(rustix::io::Errno::INVAL))
}

/// Has pages swapped out to a device that says of itself that it is for that.
///
/// # Errors
/// EINVAL: it does not say so. EPERM. ENOSYS: the kernel was built without.
pub fn on(device: &Path) -> Result<()> {
    let call = "swapon";
    let path = path_of(device, call)?;
    // SAFETY: the path is terminated and lives until the call returns.
    match unsafe { libc::swapon(path.as_ptr(), 0) } {
        0 => Ok(()),
        _ => Err(Error::last(call)),
    }
}

/// Ends that: what is out comes in.
///
/// # Errors
/// EINVAL: nothing is swapped out to it. ENOMEM: there is not enough memory. EPERM.
pub fn off(device: &Path) -> Result<()> {
    let call = "swapoff";
    let path = path_of(device, call)?;
    // SAFETY: as above.
    match unsafe { libc::swapoff(path.as_ptr()) } {
        0 => Ok(()),
        _ => Err(Error::last(call)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_room_for_pages_is_none() {
        let device = Path::new("/dev/null");
        assert!(on(device).is_err());
        assert!(off(device).is_err());
        assert!(on(Path::new("a\0b")).is_err());
    }
}
