// SPDX-License-Identifier: MIT OR Apache-2.0
//! The descriptor of the guest's RAM, mapped and shared: a memfd, or memory of the VM's own
//! (guest_memfd). It outlives this program and the kernel.

use std::fs::File;
use std::io;
use std::sync::Arc;

use luo_sys::memfd::{self, Seals};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

/// RAM, from address 0 on.
pub type Ram = GuestMemoryMmap;

/// Makes a memfd for RAM.
///
/// # Errors
/// There is no descriptor to be had.
pub fn create(bytes: u64) -> io::Result<File> {
    Ok(memfd::create("ram", bytes)?)
}

/// Maps a file as RAM. Nothing is copied, and no page is touched.
///
/// A memfd is sealed against another size; a guest_memfd has none but its first. A kernel that does not bring seals back leaves it without,
/// and whoever else has it could take pages away from under the guest. Some such kernels bring it
/// back as one that cannot be sealed either: better such RAM than none.
///
/// # Errors
/// The file is shorter, or there is no room for the mapping.
pub fn map(file: &File, bytes: u64) -> io::Result<Ram> {
    let _ = memfd::add_seals(file, Seals::SHRINK | Seals::GROW);
    let found = file.metadata()?.len();
    if found < bytes {
        // A touch behind the end of a file ends the process.
        return Err(io::Error::other(format!("it has {found} bytes only")));
    }
    let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
    let file = FileOffset::from_arc(Arc::new(file.try_clone()?), 0);
    let range = [(GuestAddress(0), bytes, Some(file))];
    Ram::from_ranges_with_files(range).map_err(|why| io::Error::other(why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;
    use vm_memory::Bytes;

    #[test]
    fn ram_is_the_memfd_and_not_a_copy() {
        let file = luo_sys::memfd::create("ram", 1 << 20).unwrap();
        let ram = map(&file, 1 << 20).unwrap();
        ram.write_obj(0x4711u32, GuestAddress(4096)).unwrap();
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, 4096).unwrap();
        assert_eq!(u32::from_le_bytes(bytes), 0x4711);
        // One that is too small is told, and not met by a signal.
        assert!(map(&file, 2 << 20).is_err());
    }

    #[test]
    fn ram_is_sealed_when_it_is_mapped() {
        let file = luo_sys::memfd::create("ram", 1 << 20).unwrap();
        map(&file, 1 << 20).unwrap();
        assert!(file.set_len(4096).is_err());
        // One that cannot be sealed is mapped all the same.
        let file = luo_sys::memfd::create("ram", 1 << 20).unwrap();
        memfd::add_seals(&file, Seals::SEAL).unwrap();
        map(&file, 1 << 20).unwrap();
    }
}
