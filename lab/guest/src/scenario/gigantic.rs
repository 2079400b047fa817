// SPDX-License-Identifier: MIT OR Apache-2.0
//! A memfd of one huge page of 1 GiB. Pools of such pages are filled before there is an
//! allocator, and each kernel here asks for one page: that of the file is not asked for again.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context, Result};
use luo_sys::{MappedFile, Token};
use rustix::fs::MemfdFlags;

use crate::check::{Suite, device, name, same};
use crate::init::Guest;
use crate::kexec;

const SUITE: Suite = Suite::new("gigantic");
const TOKEN: Token = Token(1);
const PAGE: usize = 1 << 30;
const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-1048576kB";

/// Where something is written.
const PLACES: [usize; 4] = [0, (PAGE / 3) & !7, PAGE / 2, PAGE - 8];

/// Hands the file over, and looks at it in the next kernels.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    match guest.boot {
        0 => leave(guest),
        1 => {
            SUITE.case("its-page-is-not-asked-for-again", || pool_is(0, 0));
            // Nobody takes it back.
            kexec::go(guest, |_, _| ())
        }
        _ => {
            SUITE.case("comes-back", comes_back);
            Ok(())
        }
    }
}

fn leave(guest: &Guest) -> Result<()> {
    pool_is(1, 1)?;
    let flags = MemfdFlags::HUGETLB | MemfdFlags::HUGE_1GB | MemfdFlags::CLOEXEC;
    let file = File::from(rustix::fs::memfd_create("gigantic", flags)?);
    file.set_len(PAGE as u64)?;
    let mapped = MappedFile::new(&file, PAGE).context("mapping it")?;
    for place in PLACES {
        mapped.store(place, !place as u64)?;
    }
    let session = device()?.create_session(&name("gigantic"))?;
    session.preserve_fd(&file, TOKEN)?;
    kexec::go(guest, |_, _| ())
}

fn comes_back() -> Result<()> {
    pool_is(0, 0)?;
    let session = device()?.retrieve_session(&name("gigantic"))?;
    let file = File::from(session.retrieve_fd(TOKEN)?);
    pool_is(1, 0)?;
    session.finish()?;
    for place in PLACES {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, place as u64)?;
        same("what is there", u64::from_ne_bytes(bytes), !place as u64)?;
    }
    drop(file);
    pool_is(1, 1)
}

/// Asserts how many pages the pool has, and how many of them are free.
fn pool_is(total: u64, free: u64) -> Result<()> {
    let number = |of: &str| -> Result<u64> {
        let text = fs::read_to_string(format!("{POOL}/{of}")).context(of.to_owned())?;
        Ok(text.trim().parse()?)
    };
    same("the pages", number("nr_hugepages")?, total)?;
    same("those that are free", number("free_hugepages")?, free)
}
