// SPDX-License-Identifier: MIT OR Apache-2.0
//! The descriptor of the guest's RAM: a memfd, mapped and shared. It is made before the guest, and
//! it outlives this program and the kernel.

use std::fs::File;
use std::io;
use std::sync::Arc;

use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

/// RAM, from address 0 on.
pub type Ram = GuestMemoryMmap;

/// Maps a memfd as RAM. Nothing is copied, and no page is touched.
///
/// # Errors
/// The file is shorter, or there is no room for the mapping.
pub fn map(file: &File, bytes: u64) -> io::Result<Ram> {
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
}
