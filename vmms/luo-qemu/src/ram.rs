// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's RAM, as it is made at its first start: a memfd, of huge pages where that is wanted.

use std::fs;
use std::fs::File;
use std::io;
use std::path::Path;

use luo_client::kernel::memfd::{self, Seals};

use rustix::fs::{FallocateFlags, fallocate};

use crate::exit::Error;

/// Where the pools of huge pages are.
const POOLS: &str = "/sys/kernel/mm/hugepages";

/// Makes RAM for nodes of these sizes, of huge pages of that size, if one is given.
///
/// # Errors
/// [`Error::Unfit`] if there are no such pages, [`Error::System`] if there are too few.
pub fn make(name: &str, nodes: &[u64], huge: Option<u64>) -> Result<File, Error> {
    let size = nodes.iter().copied().fold(0, u64::saturating_add);
    let failed = |why: luo_client::kernel::Error| Error::system("the guest's RAM")(why.into());
    let Some(page) = huge else {
        let ram = memfd::create(name, size).map_err(failed)?;
        memfd::add_seals(&ram, Seals::SHRINK | Seals::GROW).map_err(failed)?;
        return Ok(ram);
    };
    look(Path::new(POOLS), nodes, page)?;
    let ram = memfd::create_huge(name, size, page).map_err(failed)?;
    // A hole would come over the jump as one, and who maps it takes a page of the next kernel's, which may have
    // none to spare.
    let filled = fallocate(&ram, FallocateFlags::empty(), 0, size);
    filled.map_err(|why| Error::system("huge pages for the guest's RAM")(why.into()))?;
    memfd::add_seals(&ram, Seals::SHRINK | Seals::GROW).map_err(failed)?;
    Ok(ram)
}

/// Whether there are so many huge pages that nobody has, or could be.
fn look(pools: &Path, nodes: &[u64], page: u64) -> Result<(), Error> {
    let size = nodes.iter().copied().fold(0, u64::saturating_add);
    if !nodes.iter().all(|size| size.is_multiple_of(page)) {
        return Err(Error::Unfit(format!(
            "--memory is no multiple of the huge pages of {} KiB that --huge asks for",
            page >> 10
        )));
    }
    let pool = pools.join(format!("hugepages-{}kB", page >> 10));
    if !pool.is_dir() {
        return Err(Error::Unfit(format!(
            "this machine has no huge pages of {} KiB: {} has those that there are",
            page >> 10,
            pools.display()
        )));
    }
    let number = |name: &str| -> Result<u64, Error> {
        let path = pool.join(name);
        let failed = Error::system(path.display().to_string());
        let text = fs::read_to_string(&path);
        let number = text.and_then(|text| text.trim().parse().map_err(io::Error::other));
        number.map_err(failed)
    };
    let free = number("free_hugepages")?.saturating_sub(number("resv_hugepages")?);
    let more = number("nr_overcommit_hugepages")?.saturating_sub(number("surplus_hugepages")?);
    let (there, wanted) = (free.saturating_add(more), size / page);
    if there < wanted {
        let what = format!(
            "the guest's RAM takes {wanted} huge pages of {} KiB, and {there} are free. More are made by \
             writing to {}, best right after a boot",
            page >> 10,
            pool.join("nr_hugepages").display()
        );
        return Err(Error::system(what)(io::ErrorKind::OutOfMemory.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit;

    #[test]
    fn huge_pages_are_counted_before_they_are_taken() {
        let pools = tempfile::tempdir().unwrap();
        let pool = pools.path().join("hugepages-2048kB");
        fs::create_dir(&pool).unwrap();
        let put =
            |name: &str, number: u64| fs::write(pool.join(name), format!("{number}\n")).unwrap();
        put("free_hugepages", 10);
        put("resv_hugepages", 2);
        put("nr_overcommit_hugepages", 3);
        put("surplus_hugepages", 1);
        let code = |size, page| look(pools.path(), &[size], page).map_err(|why| why.code());
        assert_eq!(code(20 << 20, 2 << 20), Ok(()));
        assert_eq!(code(22 << 20, 2 << 20), Err(exit::SYSTEM));
        assert_eq!(code(3 << 20, 2 << 20), Err(exit::REFUSED));
        assert_eq!(code(1 << 30, 1 << 30), Err(exit::REFUSED));
        // Each node has pages of its own.
        let nodes = look(pools.path(), &[3 << 20, 3 << 20], 2 << 20);
        assert_eq!(nodes.map_err(|why| why.code()), Err(exit::REFUSED));
    }

    #[test]
    fn ram_can_neither_be_shrunk_nor_grown() {
        let ram = make("ram", &[1 << 19, 1 << 19], None).unwrap();
        assert_eq!(ram.metadata().unwrap().len(), 1 << 20);
        assert!(ram.set_len(1).is_err() && ram.set_len(1 << 21).is_err());
    }
}
