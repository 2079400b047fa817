// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attacks by what stands still: calls, pages and locks that do not come to an end, or come late.

use std::os::fd::BorrowedFd;

use anyhow::{Result, ensure};
use luo_conformance::forge;
use luo_sys::unanswered::Unanswered;
use luo_sys::{Token, memfd};

use super::super::attack::Attack;
use super::super::small::OfEachKind;
use super::{Evil, LATE, TRIED, must_fail};
use crate::program::PAUSE;

/// Pipes that it has locked for ever: of the pauses that a transition has for pipes the first eight
/// take all.
const HELD: usize = 12;

/// Does something while a pipe is locked: somebody writes to it what does not come before that is
/// done.
pub(crate) fn locked(writes: BorrowedFd<'_>, does: impl FnOnce() -> Result<()>) -> Result<()> {
    let page = Unanswered::new()?;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| page.write_into(writes));
        while !page.is_reached(PAUSE)? {
            ensure!(!writer.is_finished(), "the page has come");
        }
        let done = does();
        page.answer();
        done
    })
}

impl Evil {
    pub(super) fn fault(&self) -> Result<()> {
        let Some(session) = self.session("fault") else {
            return Ok(());
        };
        let page = Unanswered::new()?;
        let file = memfd::create("evil", 4096)?;
        std::thread::scope(|scope| {
            // Holds the file's lock until the page is there.
            let writes = scope.spawn(|| page.write_to(&file));
            let _ = page.is_reached(LATE);
            // Waits for that lock, in the kernel, with an operation under way.
            let preserves = scope.spawn(|| session.preserve_fd(&file, Token(1)));
            std::thread::sleep(LATE);
            page.answer();
            let _ = (writes.join(), preserves.join());
        });
        Ok(())
    }

    pub(super) fn hang(&self) -> Result<()> {
        let hangs = &self.more()?.hangs;
        // Others have what it may have, until there is room.
        let Some(session) = self.session("hang") else {
            return Ok(());
        };
        std::thread::scope(|scope| {
            let call = scope.spawn(|| session.preserve_fd(hangs, Token(1)));
            while !call.is_finished() {
                if forge::is_reached(hangs, PAUSE)? {
                    println!("{TRIED}{:?}", Attack::Hang);
                    // It does not come back before the program is killed.
                    let _ = call.join();
                    break;
                }
            }
            Ok(())
        })
    }

    pub(super) fn lock(&self) -> Result<()> {
        let written = &self.more()?.written;
        let page = Unanswered::new()?;
        std::thread::scope(|scope| {
            let writes = scope.spawn(|| page.write_to(written));
            while !page.is_reached(PAUSE)? {
                ensure!(!writes.is_finished(), "the page has come");
            }
            println!("{TRIED}{:?}", Attack::Lock);
            Ok(())
        })
    }

    /// One pipe is locked from here to the end of the program; another one each time that it is
    /// to be preserved.
    pub(super) fn pipes(&self) -> Result<()> {
        let Some(session) = self.session("pipes") else {
            return Ok(());
        };
        let own = OfEachKind::new()?;
        for (token, end) in (1..).zip(own.ends()) {
            // Others have what it may have, until there is room.
            if session.preserve_fd(end, Token(token)).is_err() {
                return Ok(());
            }
        }
        let [_, writes] = own.ends();
        locked(writes, || {
            println!("{TRIED}{:?}", Attack::Pipes);
            loop {
                let late = OfEachKind::new()?;
                let [reads, writes] = late.ends();
                locked(writes, || {
                    let preserved = session.preserve_fd(reads, Token(3));
                    must_fail("a pipe that is locked", preserved)?;
                    let _ = session.preserve_fd(writes, Token(4));
                    Ok(())
                })?;
                let _ = session.unpreserve_fd(Token(4));
            }
        })
    }

    /// Of what a transition waits for each gets half of what the one before has left.
    pub(super) fn held(&self) -> Result<()> {
        let pipes = (0..HELD).map(|_| OfEachKind::new());
        let pipes = pipes.collect::<Result<Vec<_>>>()?;
        // Others have what it may have, until there is room.
        let Some(session) = self.session("held") else {
            return Ok(());
        };
        for (token, pipe) in (0..).step_by(2).zip(&pipes) {
            let [reads, writes] = pipe.ends();
            let reads = session.preserve_fd(reads, Token(token));
            let writes = session.preserve_fd(writes, Token(token + 1));
            if reads.and(writes).is_err() {
                return Ok(());
            }
        }
        let pages = pipes.iter().map(|_| Unanswered::new());
        let pages = pages.collect::<luo_sys::Result<Vec<_>>>()?;
        std::thread::scope(|scope| {
            for (page, pipe) in pages.iter().zip(&pipes) {
                let [_, writes] = pipe.ends();
                scope.spawn(move || page.write_into(writes));
            }
            for page in &pages {
                while !page.is_reached(PAUSE)? {}
            }
            println!("{TRIED}{:?}", Attack::Held);
            Ok(())
        })
    }
}
