// SPDX-License-Identifier: MIT OR Apache-2.0
//! The store as a workload of the agent.
//!
//! ```text
//! serve writes ------------------------------.
//!    prepare: preserve_begin .. preserve_end  |  freeze: last_write
//! =================================================================== kexec
//! retrieve_begin .. retrieve_end, first_request_served, verified, done
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use luo_client::agent::{Agent, EventKind, Workload};
use luo_client::{Session, SessionName};
use luo_conformance::fill::Prng;
use luo_sys::{MappedFile, memfd};

use crate::service::{STORE, describe, grouped, serve_again};
use crate::stage::Stage;
use crate::store::{ENTRIES, LENGTH, Store};
use crate::terminal::Terminal;

/// The workload's name, and its session's.
const NAME: &str = "store";

/// How long luod may take to be there again, in a call after the jump.
const WITHIN: Duration = Duration::from_secs(60);

/// The first argument that makes a program the store.
pub const ARGUMENT: &str = "--store";

/// The whole program: what it does it says on standard output.
pub fn main() -> ! {
    let stage = Terminal::default();
    let done = run(&stage);
    if let Err(why) = &done {
        eprintln!("store: {why:#}");
    }
    std::process::exit(i32::from(done.is_err() || stage.has_failed()))
}

/// Serves until the machine jumps; in the next kernel, takes the store back.
///
/// # Errors
/// If the agent or the kernel refuses something.
pub fn run(stage: &impl Stage) -> Result<()> {
    let name = SessionName::new(NAME)?;
    let mut workload = Agent::connect()?.register(NAME, &[])?;
    if workload.registered().claimable.is_empty() {
        before(stage, &mut workload, &name)
    } else {
        after(stage, &mut workload, &name)
    }
}

fn before(stage: &impl Stage, workload: &mut Workload, name: &SessionName) -> Result<()> {
    let memory = memfd::create(NAME, LENGTH as u64)?;
    let mut store = Store::create(MappedFile::new(&memory, LENGTH)?)?;
    for key in 0..ENTRIES {
        store.put(key)?;
    }
    stage.progress(format!("the store is filled: {}", describe(&store)?));
    let session = workload.create_session(name)?;
    let writes = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_on(&mut store, &writes, &done));
        let asked = wait_for_freeze(stage, workload, &session, &memory, &writes);
        done.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| anyhow::anyhow!("a panic"))??;
        asked
    })
    .and_then(|event| {
        stage.mark("last_write");
        stage.progress(describe(&store)?);
        workload.ready(&event)?;
        // The machine jumps, or something is wrong.
        let event = workload.next_event()?;
        anyhow::bail!("instead of the jump: {event:?}")
    })
}

fn write_on(store: &mut Store, writes: &AtomicU64, done: &AtomicBool) -> Result<()> {
    let mut random = Prng::of(&[store.last_write()?]);
    while !done.load(Ordering::Relaxed) {
        store.put(random.next_u64() % ENTRIES)?;
        writes.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Preserves the store when it is asked to get ready; gives the event that asks it to
/// stand still.
fn wait_for_freeze(
    stage: &impl Stage,
    workload: &mut Workload,
    session: &Session,
    memory: &std::fs::File,
    writes: &AtomicU64,
) -> Result<luo_client::agent::Event> {
    loop {
        let event = workload.next_event()?;
        match event.kind {
            EventKind::Freeze => return Ok(event),
            EventKind::Cancel => anyhow::bail!("the update is off: {:?}", event.reason),
            EventKind::Prepare => {}
        }
        let before = writes.load(Ordering::Relaxed);
        stage.mark("preserve_begin");
        session.preserve_fd(memory, STORE)?;
        stage.mark("preserve_end");
        let served = writes.load(Ordering::Relaxed) - before;
        let written = (served > 0).then_some(()).context("nothing was written");
        stage.case("writes-during-preserve", written);
        stage.progress(format!(
            "{} writes were served while the store was preserved",
            grouped(served)
        ));
        workload.ready(&event)?;
    }
}

fn after(stage: &impl Stage, workload: &mut Workload, name: &SessionName) -> Result<()> {
    stage.mark("retrieve_begin");
    let claim = workload.surely(WITHIN, |workload| workload.claim(name))?;
    let workload = std::cell::RefCell::new(workload);
    let restored = |workload: &mut Workload| workload.restored();
    let finish = |workload: &mut Workload| workload.finish_session(name);
    serve_again(
        stage,
        &claim.session,
        || Ok(workload.borrow_mut().surely(WITHIN, restored)?),
        || Ok(workload.borrow_mut().surely(WITHIN, finish)?),
    )?;
    stage.mark("done");
    Ok(())
}
