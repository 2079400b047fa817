// SPDX-License-Identifier: MIT OR Apache-2.0
//! Disks of the kernels of the tests (`null_blk`): memory that is read and written as a disk is, and
//! as slowly as a case wants.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use luo_sys::{MappedFile, cached, swap};
use rustix::fs::{Mode, OFlags};

use crate::check::skip;
use crate::patience::until;

const PAGE: usize = 4096;

/// Has pages put in line for reclaim that wait for it, and clean ones of files dropped.
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// Where disks are made.
const DISKS: &str = "/sys/kernel/config/nullb";

/// A disk. What is on it is gone with it; before it is written to, it has zeros.
pub(crate) struct Disk {
    folder: PathBuf,
    device: PathBuf,
}

impl Disk {
    /// A disk of so many MiB.
    ///
    /// # Errors
    /// [`crate::check::Skip`] if the kernel has none.
    pub(crate) fn new(name: &str, size: u32) -> Result<Self> {
        Self::with(name, size, &[])
    }

    /// One that reads and writes 800 KiB in a second: 16 at once, each 50th of it.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn slow(name: &str, size: u32) -> Result<Self> {
        Self::with(name, size, &[("mbps", 1), ("max_sectors", 32)])
    }

    fn with(name: &str, size: u32, more: &[(&str, u32)]) -> Result<Self> {
        if !Path::new(DISKS).exists() {
            return Err(skip("this kernel has no disks for tests"));
        }
        let folder = Path::new(DISKS).join(name);
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        // From here on it is taken away again.
        let disk = Self {
            device: Path::new("/dev").join(name),
            folder,
        };
        let common = [("size", size), ("blocksize", 4096), ("memory_backed", 1)];
        let last = [("power", 1)];
        for &(key, value) in common.iter().chain(more).chain(&last) {
            fs::write(disk.folder.join(key), value.to_string()).with_context(|| key.to_owned())?;
        }
        until("the disk", || Ok(disk.device.exists()))?;
        Ok(disk)
    }

    /// Opens it so that what is read goes straight into the memory of the reader.
    ///
    /// # Errors
    /// Those of an open.
    pub(crate) fn direct(&self) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&self.device, flags, Mode::empty())?.into())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = fs::write(self.folder.join("power"), "0");
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Pages can be swapped out while it is there.
pub(crate) struct Swap(Disk);

impl Swap {
    /// Begins it, with room for 500 pages.
    ///
    /// # Errors
    /// As [`Disk::new`]; those of swapon(2).
    pub(crate) fn new(name: &str) -> Result<Self> {
        /// Pages of the disk.
        const PAGES: usize = (2 << 20) / PAGE;
        let disk = Disk::new(name, 2)?;
        // As the kernel's `union swap_header` has it: behind 1024 bytes a version, the last page
        // and how many are bad; at the end of the page what tells that it is one.
        let mut header = vec![0; PAGE];
        let numbers = [1, u32::try_from(PAGES)? - 1, 0];
        for (number, at) in numbers.iter().zip((1024..).step_by(4)) {
            header[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        }
        let magic = b"SWAPSPACE2";
        header[PAGE - magic.len()..].copy_from_slice(magic);
        let file = OpenOptions::new().write(true).open(&disk.device)?;
        file.write_all_at(&header, 0)?;
        file.sync_all()?;
        swap::on(&disk.device)?;
        Ok(Self(disk))
    }

    /// Swaps all pages of a file out of which these are, which a mapping shows, and waits until they
    /// are out.
    ///
    /// # Errors
    /// If they do not go.
    pub(crate) fn put_out(&self, file: &File, memory: &MappedFile, pages: &[usize]) -> Result<()> {
        let before = cached::pages(file)?;
        let gone = until("being swapped out", || {
            // Only what is mapped is looked at. A page that somebody else had in hand at that
            // moment has stayed in memory, and is not mapped any more.
            for page in pages {
                if cached::is_present(file, (page * PAGE) as u64)? {
                    memory.load(page * PAGE)?;
                }
            }
            // A page that another processor has just put into a file waits there to be put
            // in line for reclaim, and does not go out before. This has all of them put in.
            fs::write(DROP_CACHES, "1").context(DROP_CACHES)?;
            memory.page_out()?;
            let seen = cached::pages(file)?;
            ensure!(
                seen.present <= before.present,
                "pages have come in: {seen:?}"
            );
            Ok(before.present - seen.present == pages.len() as u64)
        });
        gone.with_context(|| {
            let (seen, rooms) = (cached::pages(file), fs::read_to_string("/proc/swaps"));
            format!(
                "{} pages: first {before:?}, in the end {seen:?}; room: {rooms:?}",
                pages.len()
            )
        })
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let _ = swap::off(&self.0.device);
    }
}
