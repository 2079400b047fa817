// SPDX-License-Identifier: MIT OR Apache-2.0
//! The VMM of docs/testing.md, as small as can be: a guest's memory that goes through
//! a live update. It knows nothing of the simulator.
//!
//! ```text
//! my-vmm start [--expect-refused]   starts a guest, and updates the kernel under it
//! my-vmm restore [--expect-cold]    takes the guest over from the previous kernel
//! ```
#![forbid(unsafe_code)]

use std::fs::File;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use luo_sys::{Device, MappedFile, SessionName, Token, kexec, memfd};

/// The session with the guest's memory, and the memory's place in it.
const SESSION: &str = "vm";
const MEMORY: Token = Token(1);

/// Bytes of the guest's memory.
const SIZE: usize = 4 << 20;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("my-vmm: {why:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["start"] => start(false),
        ["start", "--expect-refused"] => start(true),
        ["restore"] => restore().map(|()| println!("the guest is back, whole")),
        ["restore", "--expect-cold"] => match restore() {
            Err(why) => {
                println!("the guest starts cold: {why:#}");
                Ok(())
            }
            Ok(()) => bail!("the guest came back, which was not to be expected"),
        },
        _ => bail!("usage: my-vmm start [--expect-refused] | restore [--expect-cold]"),
    }
}

fn name() -> Result<SessionName> {
    SessionName::new(SESSION).context(SESSION)
}

/// What the guest has written at a place of its memory.
fn word(at: usize) -> u64 {
    (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn verify(memory: &File) -> Result<()> {
    let map = MappedFile::new(memory, SIZE)?;
    for at in (0..SIZE).step_by(8) {
        ensure!(map.load(at)? == word(at), "the memory differs at {at:#x}");
    }
    Ok(())
}

/// Runs a guest, and updates the kernel; comes back only if that is refused.
fn start(expect_refused: bool) -> Result<()> {
    let memory = memfd::create("guest memory", SIZE as u64)?;
    let map = MappedFile::new(&memory, SIZE)?;
    for at in (0..SIZE).step_by(8) {
        map.store(at, word(at))?;
    }
    let device = Device::open()?;
    let session = device.create_session(&name()?)?;
    session.preserve_fd(&memory, MEMORY)?;

    let kernel = File::open("/proc/self/exe").context("the next kernel")?;
    kexec::load(&kernel, None::<File>, c"")?;
    let why = kexec::execute();
    ensure!(expect_refused, "the update was refused: {why}");

    // The guest goes on, and nothing of it is bound any more.
    verify(&memory)?;
    map.store(0, 1)?;
    session.unpreserve_fd(MEMORY)?;
    session.preserve_fd(&memory, MEMORY)?;
    println!("the update was refused ({why}), and the guest goes on");
    Ok(())
}

/// Takes the guest's memory over. What cannot be taken over is let go of.
fn restore() -> Result<()> {
    let device = Device::open()?;
    let session = device.retrieve_session(&name()?)?;
    let memory = session.retrieve_fd(MEMORY);
    session.finish()?;
    verify(&File::from(memory?))
}
