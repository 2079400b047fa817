// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many kexecs in a row; nothing may get lost, however often it is handed on.
//!
//! Each kernel takes back what the one before it left, verifies it, and leaves
//! new memory for the next. One memfd, the heirloom, is carried along
//! unchanged from the first kernel to the last; a large one, if there is one, is written to in
//! each of them. Eventfds, timers and pipes go along, too, and as many that nobody wants. The last kernel has as much memory in
//! use as an early one had: what leaks, or is reserved once more by each kernel, is seen
//! there.

mod large;
mod small;

use std::fs::File;

use anyhow::{Context, Result, ensure};
use luo_sys::{Device, Session, Token};

use crate::check::{Suite, device, name, same};
use crate::fill::{self, Prng};
use crate::init::Guest;
use crate::{kexec, memory, port};
use large::Large;

const SUITE: Suite = Suite::new("chain");
const SESSIONS: [&str; 3] = ["chain-a", "chain-b", "chain-c"];

/// Lengths of each session's new memfds; the token is the index.
const LENGTHS: [u64; 3] = [4096, 12_289, 1 << 18];

/// The memfd from the first kernel, in the first session.
const HEIRLOOM: Token = Token(100);
const HEIRLOOM_LENGTH: u64 = 3 << 16;

/// With more kexecs than this, only every tenth boot is a case of its own.
const QUIET: u32 = 20;

/// The boot whose memory in use the last one is compared with. What differs between a
/// machine's first kernel and one that was handed something has settled by then.
const SETTLED: u32 = 10;

/// The argument with the memory in use in that boot, in bytes.
const IN_USE: &str = "in-use";

/// Bytes by which the two may differ. It is less than a page for each update of a chain
/// of 300.
const TOLERANCE: u64 = 1 << 20;

/// Runs one link of the chain.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    let kexecs: u32 = guest.args.get("kexecs", 3)?;
    let seed: u64 = guest.args.get("seed", 1)?;
    let device = device()?;
    let mebibytes = guest.args.get("large", 0)?;
    let mut large = None;
    let heirloom = match guest.boot.checked_sub(1) {
        None => {
            large = Large::new(seed, mebibytes)?;
            fill::memfd("heirloom", HEIRLOOM_LENGTH, heirloom_contents(seed))?
        }
        Some(previous) => {
            // A loss ends the chain here: the error is a failed case.
            let boot = || format!("chain::boot-{}", guest.boot);
            let heirloom = take(&device, seed, previous).with_context(boot)?;
            small::take(&device, previous).with_context(boot)?;
            if mebibytes > 0 {
                let taken = Large::take(&device, seed, mebibytes, guest.boot);
                large = Some(taken.with_context(boot)?);
            }
            report(guest.boot, kexecs);
            heirloom
        }
    };
    if guest.boot >= kexecs {
        if kexecs > SETTLED {
            SUITE.case("memory-in-use", || {
                let before = guest.args.get(IN_USE, 0)?;
                compare(before, in_use(guest.boot)?, kexecs - SETTLED)
            });
        }
        return Ok(());
    }
    let settled = match guest.boot {
        SETTLED => Some(in_use(guest.boot)?),
        _ => None,
    };
    let mut sessions = leave(&device, seed, guest.boot, &heirloom)?;
    sessions.extend(small::leave(&device, guest.boot)?);
    if let Some(large) = &large {
        sessions.push(large.leave(&device, guest.boot)?);
    }
    kexec::go(guest, |_, args| {
        if let Some(bytes) = settled {
            args.set(IN_USE, bytes);
        }
    })
}

/// Compares the memory in use now with that of `updates` updates earlier.
fn compare(before: u64, now: u64, updates: u32) -> Result<()> {
    ensure!(
        now.abs_diff(before) <= TOLERANCE,
        "{now} bytes are in use, and {before} were {updates} updates earlier"
    );
    Ok(())
}

/// The memory in use, which the host hears, too.
fn in_use(boot: u32) -> Result<u64> {
    let bytes = memory::in_use()?;
    port::sample("memory in use", boot.into(), bytes as f64 / 1024.0, "KiB");
    Ok(bytes)
}

fn report(boot: u32, kexecs: u32) {
    if kexecs <= QUIET || boot.is_multiple_of(10) || boot == kexecs {
        SUITE.case(format_args!("boot-{boot}"), || Ok(()));
    } else {
        port::progress(format!("kexec {boot} of {kexecs}: everything is there"));
    }
}

fn contents(seed: u64, boot: u32, session: usize, token: usize) -> Prng {
    Prng::of(&[seed, boot.into(), session as u64, token as u64])
}

fn heirloom_contents(seed: u64) -> Prng {
    Prng::of(&[seed, u64::MAX])
}

fn leave(device: &Device, seed: u64, boot: u32, heirloom: &File) -> Result<Vec<Session>> {
    let mut sessions = Vec::new();
    for (index, session) in SESSIONS.iter().enumerate() {
        let session = device.create_session(&name(session))?;
        for (token, &length) in LENGTHS.iter().enumerate() {
            let file = fill::memfd("chain", length, contents(seed, boot, index, token))?;
            session.preserve_fd(file, Token(token as u64))?;
        }
        if index == 0 {
            session.preserve_fd(heirloom, HEIRLOOM)?;
        }
        sessions.push(session);
    }
    Ok(sessions)
}

fn take(device: &Device, seed: u64, boot: u32) -> Result<File> {
    let mut heirloom = None;
    for (index, expected) in SESSIONS.iter().enumerate() {
        let session = device.retrieve_session(&name(expected))?;
        same("the name", session.name()?, name(expected))?;
        for (token, &length) in LENGTHS.iter().enumerate() {
            let file = File::from(session.retrieve_fd(Token(token as u64))?);
            fill::verify(&file, length, contents(seed, boot, index, token))
                .with_context(|| format!("{expected}, token {token}"))?;
        }
        if index == 0 {
            let file = File::from(session.retrieve_fd(HEIRLOOM)?);
            fill::verify(&file, HEIRLOOM_LENGTH, heirloom_contents(seed)).context("heirloom")?;
            heirloom = Some(file);
        }
        session.finish()?;
    }
    heirloom.context("no session carried the heirloom")
}
