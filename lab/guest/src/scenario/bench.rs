// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long each call takes, with many sessions and many files.
//!
//! `n` sessions without files, and one with `n` files of one page each: the
//! two dimensions in which the cost of a look-up shows.

use std::time::{Duration, Instant};

use anyhow::Result;
use luo_sys::{Device, Session, SessionName, Token};

use crate::check::name;
use crate::fill::{self, Prng};
use crate::init::Guest;
use crate::{kexec, port};

const FULL: &str = "bench-full";
const PAGE: u64 = 4096;

/// Sessions and files that go before those that are measured, on each side: an
/// emulated processor translates code when it runs first, and a hundred
/// operations would measure little else. They travel along, so the first open
/// takes over this many more.
const WARM: u64 = 64;
const WARM_FULL: &str = "warm-full";

/// How long a kernel that has just booted is left alone: it still has work of
/// its own, which would be counted with the calls.
const SETTLE: Duration = Duration::from_secs(2);

/// Measures this side, and after the kexec the other.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    let n: u64 = guest.args.get("n", 100)?;
    // A table of descriptors that grows waits for other processors; it never
    // shrinks, so one high number makes room for all.
    let stdin = std::io::stdin();
    let high = i32::try_from(3 * n + 1000)?;
    drop(rustix::io::fcntl_dupfd_cloexec(stdin, high)?);
    std::thread::sleep(SETTLE);
    if guest.boot == 0 {
        before(guest, n)
    } else {
        after(n)
    }
}

fn before(guest: &Guest, n: u64) -> Result<()> {
    let names = names("bench", n);
    let mut files = Vec::new();
    for token in 0..n {
        files.push(fill::memfd("bench", PAGE, Prng::of(&[token]))?);
    }
    let device = Device::open()?;
    let _warm = warm_before(&device)?;
    let mut sessions = Vec::with_capacity(names.len());
    each("create", n, || {
        for name in &names {
            sessions.push(device.create_session(name)?);
        }
        Ok(())
    })?;
    let full = device.create_session(&name(FULL))?;
    each("preserve", n, || {
        for (file, token) in files.iter().zip(0..) {
            full.preserve_fd(file, Token(token))?;
        }
        Ok(())
    })?;
    // The kernel holds the files now; the descriptors only cost memory.
    drop(files);
    kexec::go(guest, |_, _| ())
}

fn after(n: u64) -> Result<()> {
    let names = names("bench", n);
    let start = Instant::now();
    let device = Device::open()?;
    port::sample("first-open", n, nanoseconds(start.elapsed()), "ns");
    warm_after(&device)?;
    let mut sessions = Vec::with_capacity(names.len());
    each("retrieve-session", n, || {
        for name in &names {
            sessions.push(device.retrieve_session(name)?);
        }
        Ok(())
    })?;
    let full = device.retrieve_session(&name(FULL))?;
    let mut files = Vec::new();
    each("retrieve-fd", n, || {
        for token in 0..n {
            files.push(full.retrieve_fd(Token(token))?);
        }
        Ok(())
    })?;
    each("finish", n, || Ok(full.finish()?))
}

/// What is warm stays until the kexec: the sessions' descriptors.
fn warm_before(device: &Device) -> Result<Vec<Session>> {
    let mut sessions = Vec::new();
    for name in names("warm", WARM) {
        sessions.push(device.create_session(&name)?);
    }
    let full = device.create_session(&name(WARM_FULL))?;
    for token in 0..WARM {
        let file = fill::memfd("warm", PAGE, Prng::of(&[token]))?;
        full.preserve_fd(&file, Token(token))?;
    }
    sessions.push(full);
    Ok(sessions)
}

fn warm_after(device: &Device) -> Result<()> {
    for name in names("warm", WARM) {
        device.retrieve_session(&name)?.finish()?;
    }
    let full = device.retrieve_session(&name(WARM_FULL))?;
    for token in 0..WARM {
        full.retrieve_fd(Token(token))?;
    }
    Ok(full.finish()?)
}

fn names(kind: &str, n: u64) -> Vec<SessionName> {
    (0..n)
        .map(|index| name(&format!("{kind}-{index:06}")))
        .collect()
}

/// Times `body`, which does something `n` times.
fn each(metric: &str, n: u64, body: impl FnOnce() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    body()?;
    let total = nanoseconds(start.elapsed());
    port::sample(metric, n, total / n.max(1) as f64, "ns/op");
    Ok(())
}

fn nanoseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}
