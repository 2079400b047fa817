// SPDX-License-Identifier: MIT OR Apache-2.0
//! A service with much memory goes through a kexec: how long it is away, and what a page
//! of it costs. Figures are as those of `bench`.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use luo_sys::{Device, MappedFile, Token};

use super::bench::{quiet, ticks};
use crate::check::name;
use crate::fill::{self, Prng};
use crate::init::Guest;
use crate::{kexec, memory, port, window};

const PAGE: u64 = 4096;
/// Pages of a large folio.
const LARGE: u64 = 512;
/// Room for so many large folios in a file of pages that are to be joined.
const PLACES: u64 = 64;
const SESSION: &str = "blackout";
const MEMORY: Token = Token(1);

/// How memfds are handed over, where there is a choice.
const FORMAT: &str = "/sys/kernel/liveupdate/memfd";

/// Whether memfds may have large folios.
const SHMEM: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// Where in the memory the service notes when it called for the reboot.
const NOTE: u64 = 0;

/// Goes away, or comes back.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    let pages: u64 = guest.args.get("pages", 4096)?;
    if guest.boot == 0 {
        let written = guest.args.get("written", pages)?;
        let lie: Lie = guest.args.text("lie").unwrap_or_default().parse()?;
        // Mainline's kernel has one format and nothing to choose.
        let format: String = guest.args.get("format", String::new())?;
        if !format.is_empty() && Path::new(FORMAT).exists() {
            fs::write(FORMAT, format)?;
        }
        leave(guest, &memory_of(pages, written, lie)?, pages)
    } else {
        come_back(guest, pages)
    }
}

/// How the pages of the memory lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// As the kernel places pages that are written one after another.
    Asis,
    /// No two of them are neighbours in memory.
    Scattered,
    /// They follow each other, where a large folio could be.
    Aligned,
    /// They are large folios.
    Huge,
}

impl std::str::FromStr for Lie {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<Self> {
        Ok(match word {
            "" => Self::Asis,
            "scattered" => Self::Scattered,
            "aligned" => Self::Aligned,
            "huge" => Self::Huge,
            _ => bail!("pages do not lie '{word}'"),
        })
    }
}

/// A file of which so many pages are written.
fn memory_of(pages: u64, written: u64, lie: Lie) -> Result<File> {
    let contents = Prng::of(&[pages]);
    if lie == Lie::Asis && written == pages {
        return fill::memfd("service", pages * PAGE, contents);
    }
    let write =
        |file: &File, page: u64| file.write_all_at(&[page as u8; PAGE as usize], page * PAGE);
    if lie == Lie::Aligned {
        return aligned(pages, write);
    }
    let memory = luo_sys::memfd::create("service", pages * PAGE)?;
    let between = luo_sys::memfd::create("between", pages * PAGE)?;
    for page in 0..written {
        write(&memory, page)?;
        if lie == Lie::Scattered {
            write(&between, page)?;
        }
    }
    if lie == Lie::Huge {
        fs::write(SHMEM, "advise").context(SHMEM)?;
        MappedFile::new(&memory, usize::try_from(pages * PAGE)?)?.collapse()?;
    }
    Ok(memory)
}

/// A file each page of which lies in it as far behind the place of a large folio as it does in
/// memory. Where the next page is going to lie is guessed from where the last one lies: the kernel
/// gives many away in the same direction.
fn aligned(pages: u64, write: impl Fn(&File, u64) -> std::io::Result<()>) -> Result<File> {
    let last = luo_sys::memfd::create("last", 2 * PAGE)?;
    write(&last, 0)?;
    write(&last, 1)?;
    let [mut before, mut frame] = memory::frames(&last, 0..2)?[..] else {
        bail!("a file of two pages has others");
    };
    let file = luo_sys::memfd::create("service", PLACES * LARGE * PAGE)?;
    // The places in the file, by where their pages lie.
    let mut places = Vec::new();
    let mut right = 0;
    for _ in 0..pages {
        let guessed = match frame > before {
            true => frame + 1,
            false => frame - 1,
        };
        before = frame;
        let known = places.iter().position(|&place| place == guessed / LARGE);
        let place = known.unwrap_or_else(|| {
            places.push(guessed / LARGE);
            places.len() - 1
        });
        let page = place as u64 * LARGE + guessed % LARGE;
        write(&file, page)?;
        frame = memory::frames(&file, page..page + 1)?[0];
        right += u64::from(frame == guessed);
    }
    port::progress(format!(
        "{right} of {pages} pages lie where they can be joined"
    ));
    ensure!(right >= pages - pages / 8, "{right} pages only");
    Ok(file)
}

fn leave(guest: &Guest, memory: &File, pages: u64) -> Result<()> {
    let session = Device::open()?.create_session(&name(SESSION))?;
    if guest.args.get("ready", 0)? > 0 {
        // Code and tables are there after the first file. With its session it is not preserved any
        // more, on mainline, too.
        let first = Device::open()?.create_session(&name("first"))?;
        first.preserve_fd(fill::memfd("first", PAGE, Prng::of(&[1]))?, MEMORY)?;
    }
    quiet();
    window::open();
    let before = ticks()?;
    session.preserve_fd(memory, MEMORY)?;
    let preserved = ticks()? - before;
    window::close();
    let per_page = preserved as f64 / pages as f64;
    port::sample("PRESERVE_FD, a page", pages, per_page, port::TICKS);
    kexec::load(guest, |_, _| ())?;
    port::flush();
    rustix::fs::sync();
    // The next kernel's init closes it.
    window::open();
    memory.write_all_at(&ticks()?.to_le_bytes(), NOTE)?;
    Err(kexec::jump()).context("the kexec was refused")
}

fn come_back(guest: &Guest, pages: u64) -> Result<()> {
    // As a service does it, which does not wait until the kernel is at rest.
    let session = Device::open()?.retrieve_session(&name(SESSION))?;
    window::open();
    let before = ticks()?;
    let memory = File::from(session.retrieve_fd(MEMORY)?);
    let retrieved = ticks()? - before;
    window::close();
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
