// SPDX-License-Identifier: MIT OR Apache-2.0
//! A service with much memory goes through a kexec: how long it is away, and what a page
//! of it costs. Figures are as those of `bench`.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use luo_sys::{Device, Token};

use super::bench::{quiet, ticks};
use crate::check::name;
use crate::fill::{self, Prng};
use crate::init::Guest;
use crate::{kexec, port};

const PAGE: u64 = 4096;
const SESSION: &str = "blackout";
const MEMORY: Token = Token(1);

/// How memfds are handed over, where there is a choice.
const FORMAT: &str = "/sys/kernel/liveupdate/memfd";

/// Where in the memory the service notes when it called for the reboot.
const NOTE: u64 = 0;

/// Goes away, or comes back.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    let pages: u64 = guest.args.get("pages", 4096)?;
    if guest.boot == 0 {
        let written = guest.args.get("written", pages)?;
        let scattered = guest.args.get("scattered", 0)? == 1;
        // Mainline's kernel has one format and nothing to choose.
        let format: String = guest.args.get("format", String::new())?;
        if !format.is_empty() && Path::new(FORMAT).exists() {
            fs::write(FORMAT, format)?;
        }
        leave(guest, &memory_of(pages, written, scattered)?, pages)
    } else {
        come_back(guest, pages)
    }
}

/// A file of so many pages, some of which are written. Those of one that is scattered are no
/// neighbours in memory.
fn memory_of(pages: u64, written: u64, scattered: bool) -> Result<File> {
    let contents = Prng::of(&[pages]);
    if !scattered && written == pages {
        return fill::memfd("service", pages * PAGE, contents);
    }
    let memory = luo_sys::memfd::create("service", pages * PAGE)?;
    let between = luo_sys::memfd::create("between", pages * PAGE)?;
    for page in 0..written {
        memory.write_all_at(&[page as u8; PAGE as usize], page * PAGE)?;
        if scattered {
            between.write_all_at(&[1], page * PAGE)?;
        }
    }
    Ok(memory)
}

fn leave(guest: &Guest, memory: &File, pages: u64) -> Result<()> {
    let session = Device::open()?.create_session(&name(SESSION))?;
    quiet();
    let before = ticks()?;
    session.preserve_fd(memory, MEMORY)?;
    let preserved = ticks()? - before;
    let per_page = preserved as f64 / pages as f64;
    port::sample("PRESERVE_FD, a page", pages, per_page, port::TICKS);
    kexec::load(guest, |_, _| ())?;
    port::flush();
    rustix::fs::sync();
    memory.write_all_at(&ticks()?.to_le_bytes(), NOTE)?;
    Err(kexec::jump()).context("the kexec was refused")
}

fn come_back(guest: &Guest, pages: u64) -> Result<()> {
    // As a service does it, which does not wait until the kernel is at rest.
    let session = Device::open()?.retrieve_session(&name(SESSION))?;
    let before = ticks()?;
    let memory = File::from(session.retrieve_fd(MEMORY)?);
    let retrieved = ticks()? - before;
    let mut note = [0; 8];
    memory.read_exact_at(&mut note, NOTE)?;
    let answered = ticks()?;
    let called = u64::from_le_bytes(note);
    let started = guest
        .started
        .context("the counter was not read at the start")?;
    ensure!(called < started, "{called} is no time before {started}");

    let figures = [
        ("reboot to init", (started - called) as f64),
        ("init to the first answer", (answered - started) as f64),
        ("RETRIEVE_FD, a page", retrieved as f64 / pages as f64),
    ];
    for (metric, value) in figures {
        port::sample(metric, pages, value, port::TICKS);
    }
    Ok(session.finish()?)
}
