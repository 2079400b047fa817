// SPDX-License-Identifier: MIT OR Apache-2.0
//! A pipe of a user's that behaves, to which its owner writes again and again: nobody holds it, and
//! it has to come along, however many others are held.

use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Result, ensure};
use luo_sys::Session;

use super::cast::BUSY;
use super::small::OfEachKind;
use crate::check::same;

/// What is written each time.
const TEXT: [u8; 64] = *b"what a service has to say, again and again, as services do say!\n";

/// Between two writes: many in each tick of the kernel's.
const PAUSE: Duration = Duration::from_micros(200);

/// Has it preserved, and begins to write to it, up to the jump.
pub(super) fn begin(session: &Session) -> Result<()> {
    let pipe = OfEachKind::new()?;
    for (end, token) in pipe.ends().into_iter().zip(BUSY) {
        session.preserve_fd(end, token)?;
    }
    std::thread::spawn(move || {
        let [reads, writes] = pipe.ends();
        let mut bytes = [0; TEXT.len()];
        loop {
            let _ = rustix::io::write(writes, &TEXT);
            let _ = rustix::io::read(reads, &mut bytes);
            std::thread::sleep(PAUSE);
        }
    });
    Ok(())
}

/// It is a pipe, with what nobody had read.
pub(super) fn works(reads: OwnedFd, writes: OwnedFd) -> Result<()> {
    let mut bytes = vec![0; 1 << 16];
    let held = rustix::io::read(&reads, &mut bytes)?;
    ensure!(held > 0, "it holds nothing");
    rustix::io::write(&writes, &TEXT)?;
    let mut all = [0; TEXT.len()];
    same("bytes", rustix::io::read(&reads, &mut all)?, TEXT.len())?;
    same("what is written", all, TEXT)
}
