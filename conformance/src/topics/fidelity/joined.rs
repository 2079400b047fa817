// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread has the kernel join the file's pages to huge ones while it is preserved: what is
//! written afterwards is in the pages that go.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{MappedFile, memfd};

use crate::check::same;

const PAGE: u64 = 4096;
pub(super) const LENGTH: u64 = 8 << 20;

/// Whether pages of memfds may be joined at all. By default they may not, and who asks for it is
/// told EINVAL.
const SHMEM: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// Whether pages can be joined here.
static CAN: AtomicBool = AtomicBool::new(false);

/// Lets memfds have huge pages. That is a choice of the whole machine's, so it is for a kernel that
/// is there for these tests.
pub(super) fn allow() {
    let chosen = fs::write(SHMEM, "advise");
    CAN.store(chosen.is_ok(), Ordering::Relaxed);
}

/// Whether pages can be joined here, which is for the kernel of a test.
pub(super) fn is_allowed() -> bool {
    CAN.load(Ordering::Relaxed)
}

/// Who joins, until it is told to end.
static JOINS: Mutex<Option<(Arc<AtomicBool>, JoinHandle<()>)>> = Mutex::new(None);

pub(super) fn make() -> Result<File> {
    if is_allowed() {
        let mapped = MappedFile::new(&single_pages("probe")?, usize::try_from(LENGTH)?)?;
        mapped.collapse().context("pages cannot be joined")?;
    }
    let file = single_pages("joined")?;
    let mapped = MappedFile::new(&file, usize::try_from(LENGTH)?)?;
    let ends = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ends);
    let (begin, begun) = std::sync::mpsc::channel();
    let joins = std::thread::spawn(move || {
        while !seen.load(Ordering::Acquire) {
            // The first time it is in the middle of it when the file is preserved.
            let _ = begin.send(());
            // What is joined already, or held still, stays as it is.
            let _ = mapped.collapse();
        }
    });
    *JOINS.lock().unwrap_or_else(PoisonError::into_inner) = Some((ends, joins));
    begun.recv().context("the thread that joins")?;
    Ok(file)
}

/// A file of single pages, in no order: every other page, and then the rest. Each has its number.
pub(super) fn single_pages(name: &str) -> Result<File> {
    let file = memfd::create(name, LENGTH)?;
    for first in [0, 1] {
        for page in (first..LENGTH / PAGE).step_by(2) {
            file.write_all_at(&page.to_ne_bytes(), page * PAGE)?;
        }
    }
    Ok(file)
}

/// Nobody joins any more.
pub(super) fn end() -> Result<()> {
    let joins = JOINS.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((ends, joins)) = joins {
        ends.store(true, Ordering::Release);
        ensure!(joins.join().is_ok(), "the thread that joins has failed");
    }
    Ok(())
}

pub(super) fn change(file: &File) -> Result<()> {
    end()?;
    for page in 0..LENGTH / PAGE {
        file.write_all_at(&(!page).to_ne_bytes(), page * PAGE)?;
    }
    Ok(())
}

pub(super) fn look(file: &File) -> Result<()> {
    for page in 0..LENGTH / PAGE {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, page * PAGE)?;
        same("what a page has", u64::from_ne_bytes(bytes), !page)?;
    }
    Ok(())
}
