// SPDX-License-Identifier: MIT OR Apache-2.0
//! The same memfds through several kernels, of mainline's and of ours in turn: each takes back what
//! the one before it left, compares every byte, writes to some pages, and leaves the same files for
//! the next. Between two of ours they go in runs of pages, else as mainline's handler reads them.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, ensure};
use luo_sys::memfd::{self, Seals};
use luo_sys::{Device, Session, Token};

use crate::check::{Suite, device, name, same};
use crate::fill::Prng;
use crate::init::Guest;
use crate::kexec;

const SUITE: Suite = Suite::new("relay");
const SESSION: &str = "relay";

/// How files are handed over, and the two ways; there is no choice on mainline.
const FORMAT: &str = "/sys/kernel/liveupdate/memfd";
const RUNS: &str = "runs";
const AS_MAINLINE: &str = "memfd-v2";

const PAGE: u64 = 4096;

/// A file that goes through all kernels; its token is its place.
struct Kind {
    length: u64,
    /// Which pages have contents from the first kernel on: one of so many.
    one_of: u64,
    /// Those that it has from the first kernel on. A file that is sealed against writing stays as
    /// it is.
    seals: Seals,
}

const KINDS: &[Kind] = &[
    Kind {
        length: 1,
        one_of: 1,
        seals: Seals::empty(),
    },
    Kind {
        length: (3 << 20) + 5,
        one_of: 1,
        seals: Seals::empty(),
    },
    Kind {
        length: 2 << 20,
        one_of: 3,
        seals: Seals::GROW,
    },
    Kind {
        length: 5 * PAGE,
        one_of: 2,
        seals: Seals::GROW.union(Seals::SHRINK).union(Seals::WRITE),
    },
];

/// Pages of each file that a kernel writes to.
const WRITES: u64 = 40;

impl Kind {
    fn pages(&self) -> u64 {
        self.length.div_ceil(PAGE)
    }

    /// The pages that a kernel writes to, holes and others.
    fn written_in(&self, token: u64, boot: u32) -> Vec<u64> {
        if boot == 0 {
            return (0..self.pages())
                .filter(|page| page.is_multiple_of(self.one_of))
                .collect();
        }
        if self.seals.contains(Seals::WRITE) {
            return Vec::new();
        }
        let mut places = Prng::of(&[token, boot.into()]);
        let page = |_| places.next_u64() % self.pages();
        (0..WRITES).map(page).collect()
    }

    /// Where a page is in the file.
    fn range(&self, page: u64) -> core::ops::Range<usize> {
        let end = self.length.min((page + 1) * PAGE);
        (page * PAGE) as usize..end as usize
    }

    /// What is in the file when a kernel leaves it.
    fn contents(&self, seed: u64, token: u64, boot: u32) -> Vec<u8> {
        let mut contents = vec![0; self.length as usize];
        for time in 0..=boot {
            for page in self.written_in(token, time) {
                let byte = Prng::of(&[seed, token, time.into(), page]).next_u64() as u8;
                contents[self.range(page)].fill(byte);
            }
        }
        contents
    }

    fn position(&self, boot: u32) -> u64 {
        self.length / 2 + u64::from(boot)
    }
}

/// Runs one kernel's part.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    let kexecs: u32 = guest.args.get("kexecs", 3)?;
    let seed: u64 = guest.args.get("seed", 1)?;
    let device = device()?;
    let files = match guest.boot.checked_sub(1) {
        None => made()?,
        Some(before) => {
            let taken = take(&device, seed, before);
            let taken = taken.with_context(|| format!("relay::boot-{}", guest.boot))?;
            SUITE.case(format_args!("boot-{}", guest.boot), || Ok(()));
            taken
        }
    };
    if guest.boot >= kexecs {
        return Ok(());
    }
    let _session = leave(guest, &device, seed, files)?;
    kexec::go(guest, |_, _| ())
}

fn made() -> Result<Vec<File>> {
    let made = |kind: &Kind| Ok(memfd::create("relay", kind.length)?);
    KINDS.iter().map(made).collect()
}

/// Writes what this kernel has to write, half of it when the files are preserved already.
fn leave(guest: &Guest, device: &Device, seed: u64, files: Vec<File>) -> Result<Session> {
    let next = kexec::next_kernel(guest)?;
    let to_mainline = next.file_name().is_some_and(|name| name == "c");
    if fs::exists(FORMAT)? {
        fs::write(FORMAT, if to_mainline { AS_MAINLINE } else { RUNS }).context(FORMAT)?;
    }
    let session = device.create_session(&name(SESSION))?;
    for (mut file, (token, kind)) in files.into_iter().zip((0..).zip(KINDS)) {
        let contents = kind.contents(seed, token, guest.boot);
        let pages = kind.written_in(token, guest.boot);
        let write = |pages: &[u64]| -> Result<()> {
            for &page in pages {
                file.write_all_at(&contents[kind.range(page)], page * PAGE)?;
            }
            Ok(())
        };
        let sealed = kind.seals.contains(Seals::WRITE);
        let early = if sealed { pages.len() } else { pages.len() / 2 };
        write(&pages[..early])?;
        if guest.boot == 0 {
            memfd::add_seals(&file, kind.seals)?;
        }
        session.preserve_fd(&file, Token(token))?;
        write(&pages[early..])?;
        file.seek(SeekFrom::Start(kind.position(guest.boot)))?;
    }
    Ok(session)
}

/// Takes all of it back, as the kernel before this one left it.
fn take(device: &Device, seed: u64, before: u32) -> Result<Vec<File>> {
    let session = device.retrieve_session(&name(SESSION))?;
    let mut files = Vec::new();
    for (token, kind) in (0..).zip(KINDS) {
        let mut file = File::from(session.retrieve_fd(Token(token))?);
        let position = kind.position(before);
        same("the position", file.stream_position()?, position)?;
        same("the seals", memfd::seals(&file)?, kind.seals)?;
        same("the length", file.metadata()?.len(), kind.length)?;
        let mut seen = vec![0; kind.length as usize];
        file.read_exact_at(&mut seen, 0)?;
        let expected = kind.contents(seed, token, before);
        let other = seen.iter().zip(&expected).position(|(a, b)| a != b);
        ensure!(
            other.is_none(),
            "file {token} differs from byte {other:?} on"
        );
        files.push(file);
    }
    session.finish()?;
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kernel_changes_what_can_be_written() {
        for (token, kind) in (0..).zip(KINDS) {
            let contents: Vec<_> = (0..4).map(|boot| kind.contents(1, token, boot)).collect();
            let can = !kind.seals.contains(Seals::WRITE);
            for pair in contents.windows(2) {
                assert!(pair[0] != pair[1] || !can || kind.length == 1, "{token}");
            }
            assert_eq!(contents[0] == contents[3], !can);
        }
    }
}
