// SPDX-License-Identifier: MIT OR Apache-2.0
//! One large file that goes over all kexecs, and is written to in each kernel. It is handed
//! over in runs of pages and as mainline does, in turn.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Device, Session, Token, memfd};

use crate::check::{name, same};

/// How it is handed over, and the two ways.
const FORMAT: &str = "/sys/kernel/liveupdate/memfd";
const FORMATS: [&str; 2] = ["runs", "memfd-v2"];

const SESSION: &str = "chain-large";
const FILE: Token = Token(0);

const PAGE: usize = 4096;
/// Bytes that are read at once.
const PIECE: usize = 256 * PAGE;

/// In each kernel one of so many pages is written to.
const ONE_OF: u64 = 16;

/// The file: three quarters of it are pages, and the rest is a hole.
pub(super) struct Large {
    file: File,
    seed: u64,
    pages: u64,
}

impl Large {
    /// A new one of so many MiB, or none.
    pub(super) fn new(seed: u64, mebibytes: u64) -> Result<Option<Self>> {
        if mebibytes == 0 {
            return Ok(None);
        }
        let length = mebibytes << 20;
        let file = memfd::create("large", length)?;
        let pages = length / PAGE as u64 * 3 / 4;
        let large = Self { file, seed, pages };
        for page in 0..pages {
            large.write(page, 0)?;
        }
        Ok(Some(large))
    }

    /// Takes back what the kernel before this one has left, and looks at all of it.
    pub(super) fn take(device: &Device, seed: u64, mebibytes: u64, boot: u32) -> Result<Self> {
        let session = device.retrieve_session(&name(SESSION))?;
        let file = File::from(session.retrieve_fd(FILE)?);
        session.finish()?;
        let length = mebibytes << 20;
        let pages = length / PAGE as u64 * 3 / 4;
        let large = Self { file, seed, pages };
        let metadata = large.file.metadata()?;
        same("its length", metadata.len(), length)?;
        large.verify(length, boot)?;
        same("its blocks", metadata.blocks(), pages * PAGE as u64 / 512)?;
        Ok(large)
    }

    /// Writes to it, and leaves it for the next kernel.
    pub(super) fn leave(&self, device: &Device, boot: u32) -> Result<Session> {
        let format = FORMATS[boot as usize % FORMATS.len()];
        fs::write(FORMAT, format).context(FORMAT)?;
        let session = device.create_session(&name(SESSION))?;
        session.preserve_fd(&self.file, FILE)?;
        fs::write(FORMAT, FORMATS[1]).context(FORMAT)?;
        // What is written to a preserved file arrives, too.
        for page in (0..self.pages).filter(|&page| self.is_written(page, boot + 1)) {
            self.write(page, boot + 1)?;
        }
        Ok(session)
    }

    fn is_written(&self, page: u64, time: u32) -> bool {
        let mixed = (page ^ self.seed.rotate_left(32) ^ u64::from(time) << 40)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed >> 40 & (ONE_OF - 1) == 0
    }

    /// What a page begins with that was written to at a time, and is full of.
    fn word(&self, page: u64, time: u32) -> u64 {
        page << 32 | u64::from(time) ^ self.seed << 16
    }

    fn write(&self, page: u64, time: u32) -> Result<()> {
        let bytes = self.word(page, time).to_ne_bytes();
        let bytes: Vec<_> = bytes.iter().copied().cycle().take(PAGE).collect();
        Ok(self.file.write_all_at(&bytes, page * PAGE as u64)?)
    }

    fn verify(&self, length: u64, boot: u32) -> Result<()> {
        let mut piece = vec![0; PIECE];
        for at in (0..length).step_by(PIECE) {
            self.file.read_exact_at(&mut piece, at)?;
            for (bytes, page) in piece.chunks(PAGE).zip(at / PAGE as u64..) {
                let expected = if page >= self.pages {
                    0
                } else {
                    let mut times = (1..=boot).rev();
                    let last = times.find(|&time| self.is_written(page, time));
                    self.word(page, last.unwrap_or(0))
                };
                let expected = expected.to_ne_bytes();
                let as_expected = bytes.chunks(8).all(|word| word == expected);
                ensure!(
                    as_expected,
                    "page {page} is other than it was in boot {boot}"
                );
            }
        }
        Ok(())
    }
}
