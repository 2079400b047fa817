// SPDX-License-Identifier: MIT OR Apache-2.0
//! A big file in a machine of a certain size: where its pages lie, and that it comes back.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use luo_sys::{MappedFile, Token};

use crate::check::{Suite, device, name};
use crate::fill::{self, Prng};
use crate::init::Guest;
use crate::{kexec, port};

const SUITE: Suite = Suite::new("memory");
const TOKEN: Token = Token(1);
const PAGE: u64 = 4096;
/// Where memory begins that a device of 32 bits does not reach.
const HIGH: u64 = 1 << 32;

/// Hands the file over, and verifies it in the next kernel.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    let mib: u64 = guest.args.get("mib", 64)?;
    let length = mib << 20;
    let device = device()?;
    if guest.boot > 0 {
        SUITE.case("comes-back", || {
            let session = device.retrieve_session(&name("memory"))?;
            let file = File::from(session.retrieve_fd(TOKEN)?);
            fill::verify(&file, length, Prng::of(&[mib]))?;
            Ok(session.finish()?)
        });
        return Ok(());
    }
    let file = fill::memfd("memory", length, Prng::of(&[mib]))?;
    SUITE.case("pages-high-up", || {
        let highest = highest(&file, length)?;
        port::progress(format!("the highest page is at {} MiB", highest >> 20));
        ensure!(
            total()? < 2 * HIGH - (1 << 30) || highest >= HIGH,
            "{highest:#x}"
        );
        Ok(())
    });
    let session = device.create_session(&name("memory"))?;
    session.preserve_fd(&file, TOKEN)?;
    kexec::go(guest, |_, _| ())
}

/// Bytes of the machine's memory.
fn total() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let number = line.context("no MemTotal")?.trim().trim_end_matches(" kB");
    Ok(number.parse::<u64>()? * 1024)
}

/// The highest physical address among a file's pages.
fn highest(file: &File, length: u64) -> Result<u64> {
    /// What an entry of `pagemap` says besides the page's number.
    const NUMBER: u64 = (1 << 55) - 1;
    let map = MappedFile::new(file, usize::try_from(length)?)?;
    for page in (0..length).step_by(PAGE as usize) {
        // An entry is there only once the page has been touched.
        map.load(usize::try_from(page)?)?;
    }
    let maps = fs::read_to_string("/proc/self/maps")?;
    let line = maps.lines().find(|line| line.contains("memfd:memory"));
    let start = line.and_then(|line| line.split('-').next());
    let start = u64::from_str_radix(start.context("the mapping is not listed")?, 16)?;
    let mut entries = vec![0; usize::try_from(length / PAGE * 8)?];
    let table = File::open("/proc/self/pagemap")?;
    table.read_exact_at(&mut entries, start / PAGE * 8)?;
    let numbers = entries.chunks_exact(8).filter_map(|entry| {
        let entry: [u8; 8] = entry.try_into().ok()?;
        Some(u64::from_le_bytes(entry) & NUMBER)
    });
    Ok(numbers.max().context("no page")? * PAGE)
}
