// SPDX-License-Identifier: MIT OR Apache-2.0
//! A big file in a machine of a certain size: where its pages lie, and that it comes back.

use std::fs::{self, File};

use anyhow::{Context, Result, ensure};
use luo_sys::Token;

use crate::check::{Suite, device, name};
use crate::fill::{self, Prng};
use crate::init::Guest;
use crate::{kexec, memory, port};

const SUITE: Suite = Suite::new("memory");
const TOKEN: Token = Token(1);
const PAGE: u64 = 4096;
/// Bytes that the kernel may take to preserve a file, and for each GiB of it that lies in few
/// runs of pages. What else the machine does in that time counts as well.
const MOST_FOR_A_FILE: u64 = 256 << 10;
const MOST_FOR_A_GIB: u64 = 64 << 10;
/// How memfds are handed over.
const FORMAT: &str = "/sys/kernel/liveupdate/memfd";
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
    // Mainline's format has a record of each folio.
    fs::write(FORMAT, "runs").context(FORMAT)?;
    let session = device.create_session(&name("memory"))?;
    let before = memory::in_use()?;
    session.preserve_fd(&file, TOKEN)?;
    let taken = memory::in_use()?.saturating_sub(before);
    port::progress(format!("to preserve it took {} KiB", taken >> 10));
    SUITE.case("little-is-taken-for-it", || {
        let most = MOST_FOR_A_FILE + MOST_FOR_A_GIB * mib.div_ceil(1024);
        ensure!(taken <= most, "{taken} bytes are more than {most}");
        Ok(())
    });
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
    let frames = memory::frames(file, 0..length / PAGE)?;
    Ok(frames.into_iter().max().context("no page")? * PAGE)
}
