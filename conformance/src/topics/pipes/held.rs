// SPDX-License-Identifier: MIT OR Apache-2.0
//! Somebody writes to a pipe from memory that does not come, and has it locked meanwhile: for
//! as long as it likes.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, scope};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use luo_sys::unanswered::Unanswered;
use luo_sys::{Cause, Errno, State, Token};

use super::super::owners::{create, full};
use super::super::tools::{enter, incoming, session, state_is};
use super::ends::{Ends, READ, WRITE, pipe};
use crate::case::Context;
use crate::check::{device, name, refused, same, skip};
use crate::patience::{PATIENCE, until};
use crate::user::{AllKinds, Delegated, USERS, as_user};
use crate::waiting::Caller;

/// Runs something while a writer stands still in the middle of a write to a pipe.
fn while_held(writes: impl AsFd + Sync, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
    if !Unanswered::is_there() {
        return Err(skip("no fault stays unanswered here"));
    }
    let memory = match Unanswered::new() {
        Err(error) if error.errno() == Errno::EACCES => {
            return Err(skip("whoever runs this must not leave faults unanswered"));
        }
        made => made?,
    };
    scope(|scope| {
        let writer = Caller::begin(scope, || memory.write_into(&writes))?;
        let reached = memory.is_reached(PATIENCE);
        let done = reached.map_err(anyhow::Error::from).and_then(|reached| {
            ensure!(reached, "the writer does not stand still");
            meanwhile()
        });
        // However that has ended: else the thread never does.
        memory.answer();
        writer.outcome()?.context("the write")?;
        done
    })
}

/// Both ends of a pipe in a session.
fn preserve(session: &luo_sys::Session, ends: &Ends, from: u64) -> Result<()> {
    session.preserve_fd(&ends.reads, Token(from + READ.0))?;
    Ok(session.preserve_fd(&ends.writes, Token(from + WRITE.0))?)
}

/// Who preserves it is told, others' pipes go on, and the administrator's that is held so is
/// named by the freeze.
pub(super) fn nobody_waits(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let (held, other) = (session(&device, "held", 0)?, session(&device, "other", 0)?);
    let (ends, free) = (pipe()?, pipe()?);
    preserve(&held, &ends, 0)?;
    let once_more = pipe()?;
    while_held(&once_more.writes, || {
        refused(held.preserve_fd(&once_more.reads, Token(11)), Errno::EBUSY)?;
        // The other end is not looked through.
        held.preserve_fd(&once_more.writes, Token(12))?;
        held.unpreserve_fd(Token(12))?;
        preserve(&other, &free, 0)?;
        Ok(other.unpreserve_fd(READ)?)
    })?;
    while_held(&ends.writes, || {
        enter(&device, State::Prepared)?;
        refused(device.freeze(), Errno::EBUSY)?;
        let failure = device.failure()?;
        same("the cause", failure.cause, Cause::Handler)?;
        same("the session", failure.session, Some(name("held")))?;
        same("the file", failure.token, READ)?;
        state_is(&device, State::Normal)?;
        // What nobody looks at goes.
        held.unpreserve_fd(READ)?;
        enter(&device, State::Frozen)?;
        Ok(device.cancel()?)
    })?;
    held.preserve_fd(&ends.reads, READ)?;
    enter(&device, State::Frozen)?;
    Ok(device.cancel()?)
}

/// However many a user holds, the event passes over them, and waits once.
pub(super) fn users(_: &mut Context<'_>) -> Result<()> {
    let root = device()?;
    let delegated = Delegated::new()?;
    let _kinds = AllKinds::new()?;
    let [user, _] = USERS;
    let own = create(user, "held")?;
    drop(delegated);
    let ends = pipe()?;
    as_user(user, || preserve(&own, &ends, 0))?;
    let roots = session(&root, "of root", 0)?;
    let free = pipe()?;
    preserve(&roots, &free, 0)?;
    while_held(&ends.writes, || {
        enter(&root, State::Frozen)?;
        root.cancel()?;
        // By who has no descriptor of it as well.
        let known = full(user, "held");
        let entry = crate::look::session(&root, luo_sys::Which::Outgoing, &known)?;
        ensure!(entry.is_some(), "it is gone");
        // Its owner lets go of it, and waits for nobody.
        own.unpreserve_fd(READ)?;
        Ok(own.unpreserve_fd(WRITE)?)
    })
}

/// A user's session was closed while an update held it, so the administrator's CANCEL lets go of
/// the last reference to its end, whose other end is held.
pub(super) fn closed_by_root(_: &mut Context<'_>) -> Result<()> {
    let root = &device()?;
    let delegated = Delegated::new()?;
    let _kinds = AllKinds::new()?;
    let [user, _] = USERS;
    let own = create(user, "orphan")?;
    drop(delegated);
    let Ends { reads, writes } = pipe()?;
    as_user(user, || Ok(own.preserve_fd(&reads, READ)?))?;
    drop(reads);
    enter(root, State::Frozen)?;
    drop(own);
    while_held(&writes, || {
        scope(|scope| {
            let cancels = Caller::begin(scope, || root.cancel())?;
            Ok::<_, anyhow::Error>(cancels.outcome()??)
        })?;
        state_is(root, State::Normal)
    })
}

/// Pipes that a user holds: of what a transition waits for those of users the first eight take all.
const HELD: u64 = 12;

/// A user holds many pipes for ever, and another writes to its own again and again.
pub(super) fn leave_busy(context: &mut Context<'_>) -> Result<()> {
    let root = context.device()?;
    if !Unanswered::is_there() {
        return Err(skip("no fault stays unanswered here"));
    }
    let _delegated = Delegated::new()?;
    let _kinds = AllKinds::new()?;
    let [one, other] = USERS;
    let (holds, busy) = (create(one, "held")?, create(other, "busy")?);
    for number in 0..HELD {
        let ends = pipe()?;
        as_user(one, || preserve(&holds, &ends, 10 * number))?;
        let page = Arc::new(Unanswered::new()?);
        let own = Arc::clone(&page);
        // It does not come back.
        thread::spawn(move || own.write_into(&ends.writes));
        ensure!(
            page.is_reached(PATIENCE)?,
            "the writer does not stand still"
        );
        context.hold(page);
    }
    let Ends { reads, writes } = pipe()?;
    let (its_reads, its_writes) = (reads.try_clone()?, writes.try_clone()?);
    let ends = Ends { reads, writes };
    as_user(other, || preserve(&busy, &ends, 0))?;
    thread::spawn(move || {
        let mut bytes = [0; 64];
        loop {
            let _ = rustix::io::write(&its_writes, &bytes);
            let _ = rustix::io::read(&its_reads, &mut bytes);
            // A virtual processor that is taken away for milliseconds while this one has the
            // pipe locked makes it a held one, so it has not got it most of the time.
            thread::sleep(Duration::from_millis(1));
        }
    });
    context.hold((holds, busy, ends, root));
    Ok(())
}

/// What was held is lost, and what was busy is there.
pub(super) fn busy(_: &mut Context<'_>) -> Result<()> {
    let [one, other] = USERS;
    let came = incoming(&format!("uid:{other}:busy"))?;
    let mut ends = Ends {
        reads: came.retrieve_fd(READ)?.into(),
        writes: came.retrieve_fd(WRITE)?.into(),
    };
    ends.writes.write_all(b"more")?;
    ensure!(
        ends.reads.read(&mut [0; 1 << 16])? >= 4,
        "it is another pipe"
    );
    came.finish()?;
    let lost = incoming(&format!("uid:{one}:held"))?;
    for number in 0..HELD {
        let token = Token(10 * number + READ.0);
        refused(lost.retrieve_fd(token), Errno::ENOTRECOVERABLE)?;
    }
    Ok(lost.finish()?)
}

/// Pipes that have lines, and writers that stand in each.
const LINES: usize = 8;
const WRITERS: usize = 4;

/// Runs something while the lock of each pipe goes from one writer to the next, of whom the last
/// ones keep it.
fn while_in_line(writes: &[File], meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
    if !Unanswered::is_there() {
        return Err(skip("no fault stays unanswered here"));
    }
    let make = || (0..WRITERS).map(|_| Unanswered::new()).collect();
    let lines: luo_sys::Result<Vec<Vec<Unanswered>>> = writes.iter().map(|_| make()).collect();
    let lines = match lines {
        Err(error) if error.errno() == Errno::EACCES => {
            return Err(skip("whoever runs this must not leave faults unanswered"));
        }
        made => made?,
    };
    let over = &AtomicBool::new(false);
    let stands = |page: &Unanswered| page.is_reached(Duration::ZERO).unwrap_or(false);
    scope(|scope| {
        let mut writers = Vec::new();
        for (line, writes) in lines.iter().zip(writes) {
            for page in line {
                writers.push(Caller::begin(scope, move || page.write_into(writes))?);
            }
        }
        let all_stand = until("a writer of each line", || {
            Ok(lines.iter().all(|line| line.iter().any(stands)))
        });
        let answered = scope.spawn(|| {
            let mut left: Vec<Vec<&Unanswered>> =
                lines.iter().map(|line| line.iter().collect()).collect();
            while !over.load(Ordering::Relaxed) {
                for line in left.iter_mut().filter(|line| line.len() > 1) {
                    if let Some(at) = line.iter().position(|page| stands(page)) {
                        line.swap_remove(at).answer();
                    }
                }
                std::thread::yield_now();
            }
        });
        let done = all_stand.and_then(|()| meanwhile());
        // However that has ended: else the threads never do.
        over.store(true, Ordering::Relaxed);
        lines.iter().flatten().for_each(Unanswered::answer);
        ensure!(answered.join().is_ok(), "who answers panicked");
        for writer in writers {
            // Who reads may be gone by then, which refuses the write.
            let _ = writer.outcome()?;
        }
        done
    })
}

/// As [`closed_by_root`], of pipes whose lock is given from one writer to the next meanwhile:
/// who finds one free must not stand in that line either.
pub(super) fn closed_in_line(_: &mut Context<'_>) -> Result<()> {
    let root = &device()?;
    let delegated = Delegated::new()?;
    let _kinds = AllKinds::new()?;
    let [user, _] = USERS;
    let own = create(user, "line")?;
    drop(delegated);
    let mut writes = Vec::new();
    for token in 0..LINES as u64 {
        let ends = pipe()?;
        as_user(user, || Ok(own.preserve_fd(&ends.reads, Token(token))?))?;
        writes.push(ends.writes);
    }
    enter(root, State::Frozen)?;
    drop(own);
    scope(|scope| {
        let mut cancels = None;
        while_in_line(&writes, || {
            let begun = cancels.insert(Caller::begin(scope, || root.cancel())?);
            until("the cancel", || Ok(begun.has_ended()))
        })?;
        let cancels = cancels.context("it was not begun")?;
        Ok::<_, anyhow::Error>(cancels.outcome()??)
    })?;
    state_is(root, State::Normal)
}
