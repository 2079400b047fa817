// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program whose writers stand in lines for pipes, of which others let go meanwhile.
//!
//! Whoever has a pipe's lock keeps it as long as the page does not come that is written, and the
//! next in line is given it then: whoever closes an end and stands in such a line waits for as long
//! as the program likes. Some of the pipes are held by one writer for ever, and of the others the
//! lock goes from one to the next without an end.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use luo_sys::unanswered::Unanswered;
use luo_sys::{Device, State, Token};
use rustix::pipe::{PipeFlags, pipe_with};

use super::cast::{LINED, LINES};
use super::evil::TRIED;
use super::inherited::taken;
use crate::check::name;
use crate::program::{PAUSE, READY, wait_to_go};

/// Its parts: in the kernel that is left, and those of one that leaves pipes for itself.
pub(super) const LEFT: &str = "lines";
pub(super) const LEAVES: &str = "lines-leave";
pub(super) const AFTER: &str = "lines-after";

/// Writers in each line.
const WRITERS: usize = 3;

/// The token of an end that is written to, beside that of the other.
const fn writes(token: Token) -> Token {
    Token(token.0 + LINES)
}

pub(super) fn tokens() -> impl Iterator<Item = Token> {
    (0..LINES).map(Token)
}

/// Pipes: the ends that are read from, and the others.
pub(super) fn pipes() -> Result<(Vec<OwnedFd>, Vec<OwnedFd>)> {
    let made = tokens().map(|_| pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK));
    Ok(made.collect::<rustix::io::Result<_>>()?)
}

/// The pages that the writers of a line write from.
type Line = Mutex<Vec<Arc<Unanswered>>>;

/// A writer: comes back to the line again and again, each time with a page that does not come by
/// itself.
fn writer(line: &Line, pipe: &OwnedFd) -> Result<()> {
    loop {
        let page = Arc::new(Unanswered::new()?);
        let pages = || line.lock().unwrap_or_else(PoisonError::into_inner);
        pages().push(Arc::clone(&page));
        let written = page.write_into(pipe);
        pages().retain(|other| !Arc::ptr_eq(other, &page));
        if written.is_err() {
            // It is full, or nobody has the other end any more.
            std::thread::sleep(PAUSE);
        }
    }
}

/// The page of the writer that has the lock of a pipe, taken out of its line.
fn have_it(line: &Line) -> Option<Arc<Unanswered>> {
    let mut stand = line.lock().unwrap_or_else(PoisonError::into_inner);
    let is_reached = |page: &Arc<Unanswered>| page.is_reached(Duration::ZERO).unwrap_or(false);
    let at = stand.iter().position(is_reached)?;
    Some(stand.swap_remove(at))
}

/// Has writers stand in a line for each pipe; says so when the lock of each is had. Never ends.
fn stand_in_lines(pipes: &[OwnedFd]) -> Result<()> {
    let lines: Vec<Line> = pipes.iter().map(|_| Line::default()).collect();
    let mut told = false;
    std::thread::scope(|scope| {
        for (line, pipe) in lines.iter().zip(pipes) {
            for _ in 0..WRITERS {
                scope.spawn(move || writer(line, pipe));
            }
        }
        // Of each second pipe the first that has it keeps it.
        let mut kept: Vec<Option<Arc<Unanswered>>> = Vec::new();
        kept.resize_with(lines.len(), || None);
        let mut had = vec![false; lines.len()];
        loop {
            for (number, line) in lines.iter().enumerate() {
                let Some(page) = have_it(line) else {
                    continue;
                };
                had[number] = true;
                if number % 2 == 0 && kept[number].is_none() {
                    kept[number] = Some(page);
                } else {
                    page.answer();
                }
            }
            if !told && had.iter().all(|had| *had) {
                told = true;
                println!("{TRIED}to stand in lines");
            }
            std::thread::yield_now();
        }
    })
}

/// The program in the kernel that is left: it has ends of the administrator's pipes, and pipes of
/// its own in a session that it closes when the machine is frozen.
pub(super) fn main() -> Result<()> {
    let mut passed: Vec<OwnedFd> = taken()?.collect();
    let device = Device::open()?;
    let (reads, own) = pipes()?;
    let session = device.create_session(&name("lines"))?;
    for (token, end) in tokens().zip(&reads) {
        session.preserve_fd(end, token)?;
    }
    drop(reads);
    println!("{READY}");
    wait_to_go();
    ensure!(
        device.state()? == State::Frozen,
        "the machine is not frozen"
    );
    drop(session);
    passed.extend(own);
    stand_in_lines(&passed)
}

/// One that leaves pipes for itself in the next kernel.
pub(super) fn leave() -> Result<()> {
    let session = Device::open()?.create_session(&name(LINED))?;
    let (reads, written) = pipes()?;
    for ((token, reads), written) in tokens().zip(&reads).zip(&written) {
        session.preserve_fd(reads, token)?;
        session.preserve_fd(written, writes(token))?;
    }
    println!("{READY}");
    crate::program::stay()
}

/// That one in the next kernel: it takes one end of each back, and not the other.
pub(super) fn after() -> Result<()> {
    let session = Device::open()?.retrieve_session(&name(LINED))?;
    let taken = tokens().map(|token| session.retrieve_fd(writes(token)));
    let taken = taken.collect::<luo_sys::Result<Vec<_>>>()?;
    println!("{READY}");
    stand_in_lines(&taken)
}
