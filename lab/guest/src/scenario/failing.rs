// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each allocation of a call fails in turn, once: the call says ENOMEM, nothing of it is
//! left, and it works the next time.
//!
//! The kernel fails the allocation whose number a task writes to its own `fail-nth`, and
//! says there afterwards whether there was one of that number. A call is tried with one
//! number after another until it has fewer allocations than that.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context, Result, bail, ensure};
use luo_sys::{Device, Errno, Needed, Session, Token, Which, memfd};

use crate::check::{Suite, device, name};
use crate::init::Guest;
use crate::port;

const SUITE: Suite = Suite::new("failing");

/// What this thread's allocations are failed by.
const NTH: &str = "/proc/thread-self/fail-nth";

/// What there may be of allocations in one call.
const MOST: u32 = 5_000;

const LENGTH: u64 = 5 * 4096;

/// Settings without which allocations that may wait do not fail, and those that do tell
/// of it on the console.
const SETTINGS: &[(&str, &str)] = &[
    ("failslab/ignore-gfp-wait", "N"),
    ("failslab/verbose", "0"),
    ("fail_page_alloc/ignore-gfp-wait", "N"),
    ("fail_page_alloc/ignore-gfp-highmem", "N"),
    ("fail_page_alloc/min-order", "0"),
    ("fail_page_alloc/verbose", "0"),
];

/// A call that is tried, and what takes it back.
type Call<'a> = (&'a str, Box<dyn Fn() -> Result<luo_sys::Result<()>> + 'a>);

/// Tries each.
pub(crate) fn run(_guest: &Guest) -> Result<()> {
    for (name, value) in SETTINGS {
        let path = format!("/sys/kernel/debug/{name}");
        fs::write(&path, value).context(path)?;
    }
    let device = device()?;
    let session = device.create_session(&name("failing"))?;
    let file = memfd::create("failing", LENGTH)?;
    for token in 1..=2 {
        let own = memfd::create("failing", LENGTH)?;
        session.preserve_fd(&own, Token(token))?;
    }
    let calls: Vec<Call<'_>> = vec![
        ("create-session", Box::new(|| created(&device))),
        ("preserve-fd", Box::new(|| preserved(&session, &file))),
        ("add-dependency", Box::new(|| needs(&session))),
        ("fd-preserve", Box::new(|| registered(&device, &file))),
        ("prepare", Box::new(|| prepared(&device, &file))),
        ("freeze", Box::new(|| frozen(&device, &file))),
        ("list-sessions", Box::new(|| listed(&device))),
    ];
    for (call, once) in calls {
        SUITE.case(call, || {
            let before = device.info()?;
            let failed = each(&once)?;
            port::progress(format!("{call}: {failed} allocations were failed"));
            let after = device.info()?;
            // The session of the device's own files is there from the first of them on.
            let own = u64::from(call == "fd-preserve");
            ensure!(
                (before.outgoing + own, before.files, before.state)
                    == (after.outgoing, after.files, after.state),
                "{before:?} became {after:?}"
            );
            Ok(())
        });
    }
    Ok(())
}

/// Does something of which this thread's allocation of a number fails; whether there was
/// one.
fn failing<T>(number: u32, call: impl FnOnce() -> T) -> Result<(T, bool)> {
    let number = number.to_string();
    // Opening it takes allocations, so it is open before one of them is to fail, and until
    // none is any more.
    let nth = File::options().read(true).write(true).open(NTH);
    let nth = nth.context(NTH)?;
    let mut left = [0; 16];
    nth.write_all_at(number.as_bytes(), 0).context(NTH)?;
    let result = call();
    let read = nth.read_at(&mut left, 0);
    nth.write_all_at(b"0", 0).context(NTH)?;
    let left = left.get(..read.context(NTH)?).unwrap_or_default();
    // It is a number still if nothing was failed, and counts down no further than to it.
    Ok((result, left.trim_ascii() == b"0"))
}

thread_local! {
    /// The allocation of the next call that is to fail, and whether one did.
    static NEXT: std::cell::Cell<(u32, bool)> = const { std::cell::Cell::new((0, false)) };
}

/// The call itself, without what leads to it and what takes it back.
fn watched<T>(call: impl FnOnce() -> luo_sys::Result<T>) -> Result<luo_sys::Result<T>> {
    let (number, _) = NEXT.get();
    let (result, failed) = failing(number, call)?;
    NEXT.set((number, failed));
    Ok(result)
}

/// Tries a call with one allocation failing after another; how many there were.
fn each(once: &dyn Fn() -> Result<luo_sys::Result<()>>) -> Result<u32> {
    for number in 1..=MOST {
        NEXT.set((number, false));
        let result = once()?;
        let (_, failed) = NEXT.get();
        match result {
            Err(error) if failed && error.errno() == Errno::ENOMEM => {}
            // Some have another way when they get no memory.
            Ok(()) if failed => {}
            Ok(()) => return Ok(number - 1),
            Err(error) => bail!("allocation {number}, failed: {failed}: {error}"),
        }
    }
    bail!("there is no end after {MOST} allocations")
}

fn created(device: &Device) -> Result<luo_sys::Result<()>> {
    let name = name("failing-2");
    Ok(watched(|| device.create_session(&name))?.map(drop))
}

fn preserved(session: &Session, file: &File) -> Result<luo_sys::Result<()>> {
    let token = Token(10);
    let result = watched(|| session.preserve_fd(file, token))?;
    if result.is_ok() {
        session.unpreserve_fd(token)?;
    }
    Ok(result)
}

fn needs(session: &Session) -> Result<luo_sys::Result<()>> {
    let on = Needed::Here(Token(1));
    let result = watched(|| session.add_dependency(Token(2), on))?;
    if result.is_ok() {
        session.drop_dependency(Token(2), on)?;
    }
    Ok(result)
}

fn registered(device: &Device, file: &File) -> Result<luo_sys::Result<()>> {
    let result = watched(|| device.fd_preserve(file))?;
    if let Ok(token) = result {
        device.fd_unpreserve(token)?;
    }
    Ok(result.map(drop))
}

/// A file of the device's is preserved in prepare.
fn prepared(device: &Device, file: &File) -> Result<luo_sys::Result<()>> {
    let token = device.fd_preserve(file)?;
    let result = watched(|| device.prepare())?;
    if result.is_ok() {
        device.cancel()?;
    }
    device.fd_unpreserve(token)?;
    Ok(result)
}

fn frozen(device: &Device, file: &File) -> Result<luo_sys::Result<()>> {
    let token = device.fd_preserve(file)?;
    device.prepare()?;
    let result = watched(|| device.freeze())?;
    // A freeze that fails takes the prepare back, too.
    if result.is_ok() {
        device.cancel()?;
    }
    device.fd_unpreserve(token)?;
    Ok(result)
}

fn listed(device: &Device) -> Result<luo_sys::Result<()>> {
    Ok(watched(|| device.list_sessions(Which::All))?.map(drop))
}
