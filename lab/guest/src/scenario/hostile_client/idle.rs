// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs of which threads run only when others leave them time, while others of the same user
//! take all processors. Whatever such a thread has in its hands that others need, it would have
//! for as long as its user likes.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use luo_sys::{Device, Session, Token, scheduling};

use super::cast::contents;
use super::programs::{call_costly, prepare_costly, storm_as};
use crate::check::name;
use crate::fill;
use crate::program::{READY, stay, wait_to_go_as};

/// It wants the engine's lock, preserves, takes back and closes.
pub(super) const IDLE: &str = "idle";
/// It leaves memory to the next kernel, and takes it back there.
pub(super) const LEAVES: &str = "idle-leaves";
pub(super) const AFTER: &str = "idle-after";

/// Threads that do nothing but take the processors, and as many that have none.
const SPINNERS: usize = 16;

/// Bytes of each file: pages of which Kexec HandOver keeps each.
const LENGTH: u64 = 64 << 12;

/// The session that is left, and files of it for each thread.
const LEFT: &str = "idle-left";
const EACH: u64 = 8;

/// Tokens that nothing else in the session has.
const FREE: u64 = 1000;

pub(super) fn main() -> Result<()> {
    let (device, session) = prepare_costly()?;
    let files = (0..SPINNERS).map(|_| written());
    let files = files.collect::<Result<Vec<_>>>()?;
    wait_to_go_as(IDLE);
    without_a_processor(|thread| {
        call_costly(&device, &session, thread);
        if let Some(file) = usize::try_from(thread).ok().and_then(|at| files.get(at)) {
            keep(&device, &session, file, thread);
        }
    })
}

fn written() -> Result<File> {
    fill::memfd("idle", LENGTH, contents(LENGTH))
}

/// Has Kexec HandOver keep pages and not keep them any more, one by one.
fn keep(device: &Device, session: &Session, file: &File, thread: u64) {
    let token = Token(FREE + thread);
    let _ = session.preserve_fd(file, token);
    let _ = session.unpreserve_fd(token);
    if let Ok(made) = device.create_session(&name(&format!("idle-{thread}"))) {
        let _ = made.preserve_fd(file, Token(1));
    }
}

/// Leaves memory to the next kernel.
pub(super) fn leave() -> Result<()> {
    let device = Device::open()?;
    let session = device.create_session(&name(LEFT))?;
    for token in 0..EACH * SPINNERS as u64 {
        session.preserve_fd(written()?, Token(token))?;
    }
    println!("{READY}");
    stay()
}

/// Takes it back, each thread one file after the other.
pub(super) fn after() -> Result<()> {
    let device = Device::open()?;
    let session = device.retrieve_session(&name(LEFT))?;
    println!("{READY}");
    let taken: Vec<_> = (0..SPINNERS).map(|_| AtomicU64::new(0)).collect();
    wait_to_go_as(AFTER);
    without_a_processor(|thread| {
        let own = usize::try_from(thread).ok().and_then(|at| taken.get(at));
        let at = own.map_or(0, |own| own.fetch_add(1, Ordering::Relaxed));
        if at < EACH {
            let _ = session.retrieve_fd(Token(thread * EACH + at));
        } else {
            std::thread::yield_now();
        }
    })
}

/// Makes calls by threads for which there is no processor.
fn without_a_processor(calls: impl Fn(u64) + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        for _ in 0..SPINNERS {
            scope.spawn(|| {
                loop {
                    core::hint::spin_loop();
                }
            });
        }
        // A thread that never runs would not say that it has tried.
        let turns = || {
            let _ = scheduling::set(scheduling::Policy::Idle);
        };
        storm_as(SPINNERS, turns, calls)
    })
}
