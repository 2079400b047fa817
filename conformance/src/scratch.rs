// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file of which a page lies in the scratch area of Kexec HandOver, where no page can stay that is
//! preserved.

use std::fs::{self, File};

use anyhow::{Context as _, Result};
use luo_sys::{MappedFile, memfd};

use crate::check::skip;
use crate::frames;

const PAGE: usize = 4096;

/// Bytes of the file at most.
const MOST: usize = 64 << 20;

/// How many bytes are asked for at once.
const STEP: usize = 4 << 20;

/// KiB that stay free when the pool of huge pages has taken the rest: of them the area is more than
/// half, and then the kernel gives pages of it away for what can be moved.
const FREE: u64 = 200 << 10;

/// KiB of a huge page.
const HUGE: u64 = 2 << 10;

/// How many huge pages the pool has.
const POOL: &str = "/proc/sys/vm/nr_hugepages";

/// The pool of huge pages has what is not to be given away. Ends when it is dropped.
struct Taken(String);

impl Taken {
    fn new() -> Result<Self> {
        let before = fs::read_to_string(POOL).context(POOL)?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let mut lines = memory.lines();
        let line = lines.find_map(|line| line.strip_prefix("MemFree:"));
        let free = line.and_then(|line| line.split_whitespace().next());
        let free: u64 = free.context("MemFree")?.parse()?;
        let wanted = before.trim().parse::<u64>()? + free.saturating_sub(FREE) / HUGE;
        let taken = Self(before);
        fs::write(POOL, wanted.to_string()).context(POOL)?;
        Ok(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let _ = fs::write(POOL, &self.0);
    }
}

/// Where the area is: beginnings and lengths of its parts.
fn parts() -> Result<Vec<(u64, u64)>> {
    let numbers = |file: &str| -> Result<Vec<u64>> {
        let path = format!("/sys/kernel/debug/kho/out/{file}");
        let text = fs::read_to_string(&path).context(path)?;
        let digits = text.lines().map(|line| line.trim_start_matches("0x"));
        let numbers = digits.map(|digits| u64::from_str_radix(digits, 16));
        Ok(numbers.collect::<Result<_, _>>()?)
    };
    let starts = numbers("scratch_phys")?.into_iter();
    Ok(starts.zip(numbers("scratch_len")?).collect())
}

/// The first of the pages of a mapping that lies in one of the parts.
fn found(memory: &MappedFile, pages: usize, parts: &[(u64, u64)]) -> Result<Option<usize>> {
    let is_in = |frame: u64| {
        let address = frame * PAGE as u64;
        let mut parts = parts.iter();
        parts.any(|&(start, length)| (start..start + length).contains(&address))
    };
    Ok(frames::of(memory, 0..pages)?.into_iter().position(is_in))
}

/// The file, the memory, and the number of a page that is there. Each page begins with a one.
///
/// # Errors
/// [`crate::check::Skip`] if no page of it comes to lie there.
pub(crate) fn file() -> Result<(File, MappedFile, usize)> {
    let parts = parts()?;
    let _taken = Taken::new()?;
    let file = memfd::create("in scratch", 0)?;
    let memory = MappedFile::new(&file, MOST)?;
    for from in (0..MOST).step_by(STEP) {
        file.set_len((from + STEP) as u64)?;
        let end = (from + STEP) / PAGE;
        for page in from / PAGE..end {
            memory.store(page * PAGE, 1)?;
        }
        if let Some(page) = found(&memory, end, &parts)? {
            return Ok((file, memory, page));
        }
    }
    Err(skip("no page of it lies in the scratch area"))
}
