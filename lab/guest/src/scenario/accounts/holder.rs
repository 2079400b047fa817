// SPDX-License-Identifier: MIT OR Apache-2.0
//! A user's program that holds as much as it may, or takes back what is its own.
//!
//! When its group is full it must ask for no memory but by the calls that are tried: for that of
//! a program itself, and for a descriptor, the kernel would kill it.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Device, Errno, Needed, Session, Token, memfd};

use super::property::{
    ENDED, FILES, GROWS_BY, LEFT, NEEDS, PAGE, PIPE, PIPE_BYTES, contents, pipe_bytes,
};
use crate::check::name;
use crate::fill;
use crate::program::{GO, PAUSE, READY, stay, wait_to_go};

/// The argument that makes this program such a one; its part follows.
pub(crate) const ARGUMENT: &str = "accounts-holder";

/// It makes sessions, files and dependencies.
pub(super) const HOLDS: &str = "holds";
/// As that, in a group that is filled.
pub(super) const FILLS: &str = "fills";
/// It takes back what it left two kernels ago.
pub(super) const TAKES: &str = "takes";

/// It preserves a file, and writes to it afterwards.
pub(super) const GROWS: &str = "grows";
/// It takes back a pipe in a group that has no room for it.
pub(super) const PIPES: &str = "pipes";

/// It finishes a session of which it has taken nothing back, in a group that is full.
pub(super) const FINISHES: &str = "finishes";
/// It has such a session until it is killed.
pub(super) const HAS: &str = "has";

/// It has played its part.
pub(super) const DONE: &str = "done";

/// Is the program.
pub(crate) fn main(part: &str) {
    let played = match part {
        HOLDS => holds(),
        FILLS => fills(),
        TAKES => takes(),
        GROWS => grows(),
        PIPES => pipes(),
        FINISHES => finishes(),
        HAS => has(),
        other => Err(anyhow::anyhow!("there is no part '{other}'")),
    };
    if let Err(error) = played {
        println!("{error:#}");
        return;
    }
    stay()
}

/// Empty files: what they cost by themselves is charged before anything is measured.
fn files() -> Result<Vec<File>> {
    (0..FILES).map(|_| Ok(memfd::create("held", 0)?)).collect()
}

fn holds() -> Result<()> {
    let (device, files) = (Device::open()?, files()?);
    println!("{READY}");
    wait_to_go();
    let mut sessions = Vec::new();
    for number in 1..64 {
        sessions.push(device.create_session(&name(&format!("held-{number}")))?);
    }
    let session = device.create_session(&name("held"))?;
    for (token, file) in (0..).zip(&files) {
        session.preserve_fd(file, Token(token))?;
    }
    for (file, on) in dependencies() {
        session.add_dependency(file, Needed::Here(on))?;
    }
    println!("{DONE}");
    stay()
}

/// Each file of the second half needs some of the first.
fn dependencies() -> impl Iterator<Item = (Token, Token)> {
    let half = FILES / 2;
    let of = move |file| (0..NEEDS).map(move |number| (file, (file + number) % half));
    let all = (half..FILES).flat_map(of);
    all.map(|(file, on)| (Token(file), Token(on)))
}

fn fills() -> Result<()> {
    let (device, files) = (Device::open()?, files()?);
    let session = device.create_session(&name("fills"))?;
    let (first, late) = files.split_at(files.len() - 64);
    for (token, file) in (0..).zip(first) {
        session.preserve_fd(file, Token(token))?;
    }
    println!("{READY}");
    wait_to_go();
    let mut refused = 0;
    let mut tried = false;
    // When the group is full, files are preserved in it, too, or are not.
    let preserve_late = || -> Result<()> {
        for (token, file) in (first.len() as u64..).zip(late) {
            match session.preserve_fd(file, Token(token)) {
                Err(error) if error.errno() != Errno::ENOMEM => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    };
    for (file, on) in dependencies().filter(|(file, _)| file.0 < FILES - 64) {
        let declare = || session.add_dependency(file, Needed::Here(on));
        refused += match declare() {
            Err(error) if error.errno() == Errno::ENOMEM && !tried => {
                tried = true;
                preserve_late()?;
                1 + patiently(declare)?
            }
            Err(_) => patiently(declare)?,
            Ok(()) => 0,
        };
    }
    ensure!(refused > 0, "no dependency was refused");
    // The rest of the files went in then, or goes in now that there is room again.
    let first = first.len() as u64;
    for (token, file) in (first..).zip(late) {
        match session.preserve_fd(file, Token(token)) {
            Err(error) if error.errno() == Errno::EEXIST => {}
            done => done?,
        }
    }
    check(&session)?;
    println!("{DONE}: {refused} calls were refused");
    stay()
}

/// Makes a call until it is not refused any more for want of memory; how often it was. While the
/// machine is prepared it is refused, too.
fn patiently(call: impl Fn() -> luo_sys::Result<()>) -> Result<u32> {
    let mut times = 0;
    loop {
        match call() {
            Ok(()) => return Ok(times),
            Err(error) if error.errno() == Errno::ENOMEM => times += 1,
            Err(error) if error.errno() == Errno::EBUSY => {}
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(PAUSE);
    }
}

/// What was refused has not happened, and what was not refused has, once.
fn check(session: &Session) -> Result<()> {
    let files = session.list_files()?;
    ensure!(files.len() as u64 == FILES, "{} files", files.len());
    let needed: u64 = files.iter().map(|file| u64::from(file.dependents)).sum();
    let declared = dependencies().filter(|(file, _)| file.0 < FILES - 64);
    ensure!(needed == declared.count() as u64, "{needed} dependencies");
    Ok(())
}

fn takes() -> Result<()> {
    let device = Device::open()?;
    println!("{READY}");
    wait_to_go();
    let (called, length) = LEFT[0];
    let called = called.rsplit(':').next().context("no name")?;
    let session = device.retrieve_session(&name(called))?;
    let file = File::from(session.retrieve_fd(Token(1))?);
    fill::verify(&file, length, contents(0))?;
    println!("{DONE}");
    // It has it as long as it lives.
    let _held = (session, file);
    stay()
}

fn grows() -> Result<()> {
    let device = Device::open()?;
    let session = device.create_session(&name("grows"))?;
    let file = memfd::create("grows", 2 * GROWS_BY * PAGE as u64)?;
    session.preserve_fd(&file, Token(1))?;
    println!("{READY}");
    wait_to_go();
    // Each page alone: none joins another.
    for page in 0..GROWS_BY {
        file.write_all_at(b"x", 2 * page * PAGE as u64)?;
    }
    println!("{DONE}");
    stay()
}

/// When its group is full it says nothing: that takes memory, too.
fn pipes() -> Result<()> {
    let device = Device::open()?;
    let session = device.retrieve_session(&name(PIPE))?;
    println!("{READY}");
    wait_to_go();
    let mut refused = 0;
    let reads = loop {
        match session.retrieve_fd(Token(1)) {
            Ok(reads) => break reads,
            Err(error) if error.errno() == Errno::ENOMEM => refused += 1,
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(PAUSE);
    };
    ensure!(refused > 0, "it was not refused");
    let mut bytes = vec![0; PIPE_BYTES];
    File::from(reads).read_exact(&mut bytes)?;
    ensure!(bytes == pipe_bytes(), "it holds something else");
    println!("{DONE}: {refused} calls were refused");
    stay()
}

fn finishes() -> Result<()> {
    let session = Device::open()?.retrieve_session(&name(ENDED[0]))?;
    println!("{READY}");
    wait_to_go();
    let ended = session.finish();
    // It says so when it has room for that.
    while std::path::Path::new(GO).exists() {
        std::thread::sleep(PAUSE);
    }
    ended?;
    println!("{DONE}");
    stay()
}

fn has() -> Result<()> {
    let _session = Device::open()?.retrieve_session(&name(ENDED[1]))?;
    println!("{READY}");
    stay()
}
