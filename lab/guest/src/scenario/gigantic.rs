// SPDX-License-Identifier: MIT OR Apache-2.0
//! A memfd of one huge page of 1 GiB. Pools of such pages are filled before there is an
//! allocator, and each kernel here asks for one page: that of the file is not asked for again.
//!
//! With the argument `without:1` the second kernel has no pages of that size. Nobody can be given
//! the file there, and what nobody takes cannot be carried on: it is lost with the next update, or
//! vetoes it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context, Result, ensure};
use luo_sys::{Errno, MappedFile, Token};
use rustix::fs::MemfdFlags;

use crate::check::{Suite, device, name, refused, same};
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
    let without = guest.args.get("without", 0)? > 0;
    match guest.boot {
        0 => leave(guest, without),
        1 if without => {
            SUITE.case("without-its-size-it-vetoes-the-next-update", || {
                vetoes(guest)
            });
            kexec::go(guest, |line, _| line.unset(HIDE.0))
        }
        2 if without => {
            SUITE.case("lost-it-is-not-waited-for", lost);
            Ok(())
        }
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

/// What hides from a kernel that its processor knows pages of 1 GiB.
const HIDE: (&str, &str) = ("clearcpuid", "pdpe1gb");
/// What is to become of a reboot when something cannot go.
const REBOOT: &str = "/sys/kernel/liveupdate/reboot";

fn vetoes(guest: &Guest) -> Result<()> {
    ensure!(!fs::exists(POOL)?, "this kernel has pages of that size");
    kexec::load(guest, |_, _| ())?;
    fs::write(REBOOT, "veto").context(REBOOT)?;
    let jumped = refused::<()>(Err(kexec::jump()), Errno::ENODEV);
    fs::write(REBOOT, "lose").context(REBOOT)?;
    jumped
}

/// The pool has the page that was asked for.
fn lost() -> Result<()> {
    pool_is(1, 1)?;
    let session = device()?.retrieve_session(&name("gigantic"))?;
    refused(session.retrieve_fd(TOKEN), Errno::ENOTRECOVERABLE)?;
    let files = session.list_files()?;
    let why = files.iter().find_map(|file| file.error);
    same("the error", why, Some(Errno::ENODEV))?;
    Ok(session.finish()?)
}

fn leave(guest: &Guest, without: bool) -> Result<()> {
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
    kexec::go(guest, |line, _| {
        if without {
            line.set(HIDE.0, HIDE.1);
        }
    })
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
