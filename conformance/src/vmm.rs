// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client of the shape of QEMU's migration mode `cpr-luo`.
//!
//! Such a program makes one session by itself, without an agent. Token 1 is a memfd with the
//! list of what else there is; each block of RAM has a token of its own. The blocks are mapped
//! and shared, and written until the processors stop: it lives on to the jump, because the end
//! of the session would let go of everything. In the next kernel it reads the list first, and
//! maps what that names.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Device, MappedFile, Session, Token};

use crate::check::{kept, name};
use crate::fill::{self, Prng};

/// The token of the list.
const LIST: Token = Token(1);

/// The block that the parent makes, and looks at.
const SHARED: &str = "pc.ram";

/// Blocks by their names, with their bytes.
const BLOCKS: [(&str, u64); 3] = [(SHARED, 8 << 20), ("pc.bios", 256 << 10), ("vga", 1 << 20)];

/// Where two words are at the beginning of each block: the guest's steps, and their complement.
const STEPS: usize = 0;
const STEPS_BACK: usize = 8;

/// The time that a step takes.
const STEP: Duration = Duration::from_millis(1);

fn contents(at: usize) -> Prng {
    Prng::of(&[0xc9, at as u64])
}

fn make(at: usize) -> Result<File> {
    let (block, length) = BLOCKS[at];
    fill::memfd(block, length, contents(at))
}

/// The block that parent and child share.
pub(crate) fn shared_block() -> Result<File> {
    make(0)
}

/// The guest's steps so far, as the memory of a block has them.
pub(crate) fn steps(block: impl AsFd) -> Result<u64> {
    Ok(MappedFile::new(block, 4096)?.load(STEPS)?)
}

/// Is such a program, whose guest never stops. One block comes from the parent; the session
/// has a name of the parent's choice.
pub(crate) fn run(
    session: &str,
    shared: OwnedFd,
    ready: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let mut blocks = vec![File::from(shared)];
    for at in 1..BLOCKS.len() {
        blocks.push(make(at)?);
    }
    let mut maps = Vec::new();
    for (block, (_, length)) in blocks.iter().zip(BLOCKS) {
        maps.push(MappedFile::new(block, usize::try_from(length)?)?);
    }
    let step = |number: u64| -> Result<()> {
        for map in &maps {
            map.store(STEPS, number)?;
            map.store(STEPS_BACK, !number)?;
        }
        Ok(())
    };
    step(1)?;
    let _kept = preserve(session, &blocks)?;
    ready()?;
    for number in 2.. {
        step(number)?;
        std::thread::sleep(STEP);
    }
    Ok(())
}

/// Makes the session; only its descriptor keeps it.
fn preserve(session: &str, blocks: &[File]) -> Result<Session> {
    let session = Device::open()?.create_session(&name(session))?;
    let mut list = String::new();
    for (number, (block, (text, length))) in (2..).zip(blocks.iter().zip(BLOCKS)) {
        session.preserve_fd(block, Token(number))?;
        list += &format!("{text} {number} {length}\n");
    }
    let mut file = luo_sys::memfd::create("cpr-state", 0)?;
    file.write_all(list.as_bytes())?;
    session.preserve_fd(&file, LIST)?;
    Ok(session)
}

/// Asserts, in the next kernel, that all is there, and that the guest has made some steps.
pub(crate) fn verify(session: &Session, least: u64) -> Result<()> {
    let mut list = File::from(session.retrieve_fd(LIST).context("the list")?);
    let mut text = String::new();
    list.rewind()?;
    list.read_to_string(&mut text)?;
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let mut word = || words.next().context("a word of the list");
        found.push((word()?.to_owned(), word()?.parse()?, word()?.parse()?));
    }
    let expected = (2..).zip(BLOCKS);
    let expected = expected.map(|(number, (text, length))| (text.to_owned(), number, length));
    kept("the list", &found, &expected.collect())?;
    for (at, (text, number, length)) in found.into_iter().enumerate() {
        let block = File::from(session.retrieve_fd(Token(number)).context(text.clone())?);
        is_whole(&block, at, length, least).context(text)?;
    }
    Ok(())
}

fn is_whole(block: &File, at: usize, length: u64, least: u64) -> Result<()> {
    let map = MappedFile::new(block, usize::try_from(length)?)?;
    let (steps, back) = (map.load(STEPS)?, !map.load(STEPS_BACK)?);
    ensure!(
        steps >= least,
        "it has made {steps} steps, and {least} before"
    );
    // It may have been stopped between the two.
    let is_one_step = steps == back || steps == back + 1;
    ensure!(is_one_step, "forwards {steps} steps, backwards {back}");
    // What the guest has not written is as it was.
    let mut first = [0; 16];
    contents(at).bytes(&mut first);
    block.write_all_at(&first, STEPS as u64)?;
    fill::verify(block, length, contents(at))
}
