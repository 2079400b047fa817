// SPDX-License-Identifier: MIT OR Apache-2.0
//! A service that survives the kernel under it.
//!
//! A key-value store of 128 MiB takes writes until a moment before the jump,
//! and answers the first request a moment after the next kernel's init has
//! started. Nothing is written to disk, nothing is loaded from disk.
//!
//! ```text
//! serve writes -------------------------------------------------+
//!    load the next kernel, preserve_begin .. preserve_end, last_write, reboot_called
//! ====================================================================== kexec
//! init_started, retrieve_begin .. retrieve_end, first_request_served, verified
//! ```

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use luo_conformance::check::{name, same};
use luo_conformance::fill::Prng;
use luo_sys::{Device, MappedFile, Session, Token, memfd};

use crate::stage::Stage;
use crate::store::{Census, ENTRIES, LENGTH, Store};

const SESSION: &str = "demo";
pub(crate) const STORE: Token = Token(1);

/// Reads and writes after the update.
const REQUESTS: u64 = 10_000;

/// Serves, preserves the store and jumps; there is no success to return.
///
/// # Errors
/// If anything is refused.
pub fn before(stage: &impl Stage) -> Result<()> {
    let memory = memfd::create("store", LENGTH as u64)?;
    let mut store = Store::create(MappedFile::new(&memory, LENGTH)?)?;
    for key in 0..ENTRIES {
        store.put(key)?;
    }
    stage.progress(format!("the store is filled: {}", describe(&store)?));

    // All that can be done before the blackout is done before it.
    stage.load_next()?;
    let session = Device::open()?.create_session(&name(SESSION))?;

    let done = AtomicBool::new(false);
    let started = AtomicBool::new(false);
    let served = std::thread::scope(|scope| {
        let writer = scope.spawn(|| serve_writes(&mut store, &done, &started));
        // Otherwise the thread may come to life when all is over.
        while !started.load(Ordering::Relaxed) && !writer.is_finished() {
            std::thread::yield_now();
        }
        stage.mark("preserve_begin");
        let preserved = session.preserve_fd(&memory, STORE);
        stage.mark("preserve_end");
        done.store(true, Ordering::Relaxed);
        let served = writer.join().expect("a panic has ended the run already");
        preserved?;
        served
    })?;
    let written = (served > 0).then_some(()).context("nothing was written");
    stage.case("writes-during-preserve", written);
    stage.progress(format!(
        "{} writes were served while the store was preserved",
        grouped(served)
    ));
    stage.settle()?;

    // Preserved memory can still be written; only now does the service stop.
    serve_writes(&mut store, &done, &started)?;
    stage.mark("last_write");
    stage.progress(describe(&store)?);
    stage.mark("reboot_called");
    Err(stage.jump()).context("the kexec was refused")
}

/// The service: overwrites entries until told to stop, and once at least.
fn serve_writes(store: &mut Store, done: &AtomicBool, started: &AtomicBool) -> Result<u64> {
    let mut random = Prng::of(&[store.last_write()?]);
    let mut served = 0;
    loop {
        store.put(random.next_u64() % ENTRIES)?;
        served += 1;
        started.store(true, Ordering::Relaxed);
        if done.load(Ordering::Relaxed) {
            return Ok(served);
        }
    }
}

/// Takes the store back and serves on.
///
/// # Errors
/// If it is not there, or not to be had.
pub fn after(stage: &impl Stage) -> Result<()> {
    stage.mark("retrieve_begin");
    let session = Device::open()?.retrieve_session(&name(SESSION))?;
    serve_again(stage, &session, || Ok(()), || Ok(session.finish()?))
}

/// Serves on from what is in a session; `serves` is called with the first request that
/// was answered, and `finish` when every entry has been verified.
pub(crate) fn serve_again(
    stage: &impl Stage,
    session: &Session,
    serves: impl FnOnce() -> Result<()>,
    finish: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let memory = session.retrieve_fd(STORE)?;
    let mut store = Store::open(MappedFile::new(&memory, LENGTH)?)?;
    stage.mark("retrieve_end");

    let last = store.last_write()?;
    let request = store.get(last % ENTRIES)?;
    stage.mark("first_request_served");
    let served = request.context("the first key that was asked for is not there");
    stage.case("first-request", served.map(drop));
    serves()?;

    let census = store.census();
    stage.mark("verified");
    stage.progress(format!("verified: {}", describe(&store)?));
    stage.case("every-entry", every_entry(&store, census, last));
    stage.case("serves-on", serve_on(&mut store, last));
    stage.case("finish", finish());
    let last = store.last_write()?;
    stage.case("serves-after-finish", serve_on(&mut store, last));
    Ok(())
}

fn every_entry(store: &Store, census: Result<Census>, last: u64) -> Result<()> {
    let census = census?;
    same("the number of entries", census.entries, ENTRIES)?;
    same("the checksum", census.checksum, store.checksum()?)?;
    same("the newest write", census.newest, last)
}

/// Reads and writes, and counts on from the last write of the old kernel.
fn serve_on(store: &mut Store, last: u64) -> Result<()> {
    let mut random = Prng::of(&[last]);
    for served in 1..=REQUESTS {
        let key = random.next_u64() % ENTRIES;
        store
            .get(key)?
            .with_context(|| format!("key {key} is not there"))?;
        store.put(key)?;
        same("the write's number", store.last_write()?, last + served)?;
        same("what was read back", store.get(key)?, Some(last + served))?;
    }
    same("the number of entries", store.census()?.entries, ENTRIES)
}

pub(crate) fn describe(store: &Store) -> Result<String> {
    Ok(format!(
        "{} entries, {} MiB, last write number {}",
        grouped(store.entries()?),
        LENGTH >> 20,
        grouped(store.last_write()?),
    ))
}

/// 300000 as 300,000.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_come_in_threes() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(4_711_000), "4,711,000");
    }
}
