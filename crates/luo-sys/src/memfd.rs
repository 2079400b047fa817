// SPDX-License-Identifier: MIT OR Apache-2.0
//! Anonymous memory files: what a session preserves.

use std::fs::File;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::process::{Resource, getrlimit};

use crate::error::{Error, Result};

pub use rustix::fs::SealFlags as Seals;

/// Creates a memfd of `length` bytes that can be sealed; its descriptor is
/// `O_CLOEXEC`.
///
/// Where the machine lets it, the memfd is one that may be executed, even if
/// `vm.memfd_noexec` says that others are not: one that may not comes back from an update
/// sealed against every change.
///
/// ```
/// use luo_sys::memfd::{self, Seals};
///
/// let file = memfd::create("ram", 4096)?;
/// memfd::add_seals(&file, Seals::SHRINK)?;
/// assert!(file.set_len(0).is_err());
/// assert_eq!(memfd::seals(&file)?, Seals::SHRINK);
/// # Ok::<(), luo_sys::Error>(())
/// ```
///
/// # Errors
/// EINVAL: the name has a zero byte or more than 249 bytes. EFBIG: the length
/// is beyond the file system's limit, or beyond what this process may write
/// (`RLIMIT_FSIZE`, of which the kernel would tell by a signal that ends the
/// process). ENOMEM, EMFILE, ENFILE.
pub fn create(name: &str, length: u64) -> Result<File> {
    create_with(name, length, MemfdFlags::empty())
}

fn create_with(name: &str, length: u64, more: MemfdFlags) -> Result<File> {
    if getrlimit(Resource::Fsize)
        .current
        .is_some_and(|most| length > most)
    {
        return Err(Error::of("ftruncate")(rustix::io::Errno::FBIG));
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | more;
    // Kernels before 6.3 do not know the word (EINVAL), and some machines forbid it
    // (EACCES).
    let fd = rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create(name, flags))
        .map_err(Error::of("memfd_create"))?;
    rustix::fs::ftruncate(&fd, length).map_err(Error::of("ftruncate"))?;
    Ok(File::from(fd))
}

/// Creates a memfd of huge pages of `page` bytes, otherwise as [`create`] does. All of it are holes: who
/// maps it reserves pages for it.
///
/// # Errors
/// As [`create`]; EINVAL: the length is no multiple of `page`. ENODEV, EINVAL: there are no huge pages of
/// this size.
pub fn create_huge(name: &str, length: u64, page: u64) -> Result<File> {
    /// Where the size of a page stands in the flags, as its power of two.
    const SHIFT: u32 = 26;
    if !page.is_power_of_two() || page.trailing_zeros() > 63 {
        return Err(Error::of("memfd_create")(rustix::io::Errno::INVAL));
    }
    let size = MemfdFlags::from_bits_retain(page.trailing_zeros() << SHIFT);
    create_with(name, length, MemfdFlags::HUGETLB | size)
}

/// Adds seals.
///
/// # Errors
/// EPERM: sealing is forbidden. EBUSY: `Seals::WRITE` on a file that somebody
/// has mapped writable. EINVAL: not a memfd.
pub fn add_seals(file: &File, seals: Seals) -> Result<()> {
    rustix::fs::fcntl_add_seals(file, seals).map_err(Error::of("F_ADD_SEALS"))
}

/// The seals a file has.
///
/// # Errors
/// EINVAL: not a memfd.
pub fn seals(file: &File) -> Result<SealFlags> {
    rustix::fs::fcntl_get_seals(file).map_err(Error::of("F_GET_SEALS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_seals_are_as_asked() {
        let file = create("test", 4097).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 4097);
        assert_eq!(seals(&file).unwrap(), Seals::empty());
        add_seals(&file, Seals::GROW | Seals::SHRINK).unwrap();
        assert_eq!(seals(&file).unwrap(), Seals::GROW | Seals::SHRINK);
        assert!(file.set_len(1).is_err());
    }

    #[test]
    fn a_limit_of_the_process_is_an_error_and_not_its_end() {
        use rustix::process::{Rlimit, setrlimit};
        let before = getrlimit(Resource::Fsize);
        let current = Some(1 << 40);
        setrlimit(Resource::Fsize, Rlimit { current, ..before }).unwrap();
        let error = create("test", (1 << 40) + 1).unwrap_err();
        setrlimit(Resource::Fsize, before).unwrap();
        assert_eq!(error.errno(), luo_abi::errno::Errno::EFBIG);
    }

    #[test]
    fn huge_pages_that_cannot_be_are_an_error() {
        for page in [0, 3, 12_288] {
            let error = create_huge("test", 1 << 21, page).unwrap_err();
            assert_eq!(error.errno(), luo_abi::errno::Errno::EINVAL, "{page}");
        }
        // The size is asked for, whatever this machine has of it.
        match create_huge("test", 4 << 20, 2 << 20) {
            Ok(file) => {
                assert_eq!(file.metadata().unwrap().len(), 4 << 20);
                let page = rustix::fs::fstatfs(&file).unwrap().f_bsize;
                assert_eq!(page, 2 << 20);
                add_seals(&file, Seals::GROW).unwrap();
            }
            Err(why) => eprintln!("no huge pages here: {why}"),
        }
    }

    #[test]
    fn a_bad_name_is_an_error() {
        let error = create("a\0b", 1).unwrap_err();
        assert_eq!(error.errno(), luo_abi::errno::Errno::EINVAL);
    }
}
