// SPDX-License-Identifier: MIT OR Apache-2.0
//! A user's program that holds as much as it may, or takes back what is its own.
//!
//! When its group is full it must ask for no memory but by the calls that are tried: for that of
//! a program itself, and for a descriptor, the kernel would kill it.

use std::fs::File;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Device, Errno, Needed, Session, Token, memfd};

use super::property::{FILES, LEFT, NEEDS, contents};
use crate::check::name;
use crate::fill;
use crate::program::{PAUSE, READY, stay, wait_to_go};

/// The argument that makes this program such a one; its part follows.
pub(crate) const ARGUMENT: &str = "accounts-holder";

/// It makes sessions, files and dependencies.
pub(super) const HOLDS: &str = "holds";
/// As that, in a group that is filled.
pub(super) const FILLS: &str = "fills";
/// It takes back what it left two kernels ago.
pub(super) const TAKES: &str = "takes";

/// It has played its part.
pub(super) const DONE: &str = "done";

/// Is the program.
pub(crate) fn main(part: &str) {
    let played = match part {
        HOLDS => holds(),
        FILLS => fills(),
        TAKES => takes(),
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
    for (file, on) in dependencies().filter(|(file, _)| file.0 < FILES - 64) {
        refused += patiently(|| session.add_dependency(file, Needed::Here(on)))?;
    }
    ensure!(refused > 0, "no dependency was refused");
    // The rest of the files goes in once there is room again.
    let first = first.len() as u64;
    for (token, file) in (first..).zip(late) {
        session.preserve_fd(file, Token(token))?;
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
