// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attacks by what it may have: as much of it as there is, in shapes that cost work.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use luo_sys::{Needed, Token, Which};

use super::super::attack::Attack;
use super::super::cast::{GUEST, OTHER, WANTED};
use super::super::small::OfEachKind;
use super::{Evil, LATE, TRIED, must_fail};
use crate::check::name;
use crate::program::PAUSE;

/// Files that all need each other: more dependencies than a user may have.
const DENSE: u64 = 256;
/// So many of those that a call looks at a thousand dependencies.
const ENOUGH: usize = 48;
/// Threads that call at once, so that they wait for each other and for every transition.
const STORM: u64 = 32;

impl Evil {
    pub(super) fn missing(&self) -> Result<()> {
        let Some(session) = self.session("misses") else {
            return Ok(());
        };
        for _ in 0..8 {
            let needs = self.preserve(&session, 1);
            let Some((needs, gone)) = needs.zip(self.preserve(&session, 1)) else {
                return Ok(());
            };
            let _ = session.add_dependency(needs, Needed::Here(gone));
            let _ = session.unpreserve_fd(gone);
        }
        // Long enough to be met by each step of an update.
        std::thread::sleep(LATE);
        Ok(())
    }

    pub(super) fn sessions(&self) -> Result<()> {
        let mut held = Vec::new();
        for called in WANTED.into_iter().chain([GUEST, OTHER, "uid:0:vm"]) {
            held.extend(self.session(called));
        }
        for number in 0..u64::MAX {
            match self.device.create_session(&name(&format!("{number}"))) {
                Ok(session) => held.push(session),
                Err(_) => break,
            }
        }
        Ok(())
    }

    pub(super) fn files(&self, length: u64) -> Result<()> {
        let Some(session) = self.session(&format!("files-{length}")) else {
            return Ok(());
        };
        let mut tokens = Vec::new();
        while let Some(token) = self.preserve(&session, length) {
            tokens.push(token);
        }
        // Half of them one by one, the rest with their session.
        for token in tokens.into_iter().step_by(2) {
            let _ = session.unpreserve_fd(token);
        }
        Ok(())
    }

    pub(super) fn dense(&self) -> Result<()> {
        let Some(session) = self.session("dense") else {
            return Ok(());
        };
        let mut tokens: Vec<Token> = Vec::new();
        for _ in 0..DENSE {
            let Some(token) = self.preserve(&session, 1) else {
                // Others have what it may have, until there is room.
                std::thread::sleep(PAUSE);
                continue;
            };
            let needs = |on: &Token| session.add_dependency(token, Needed::Here(*on)).is_ok();
            // As many as it may have: the first refusal ends it.
            let needed = tokens.iter().take_while(|on| needs(on)).count();
            // The longest search for a circle is the one that finds it at its end. There is
            // one only if the file does need the first.
            if let Some(&first) = tokens.first().filter(|_| needed > 0) {
                let circle = session.add_dependency(first, Needed::Here(token));
                must_fail("a circle", circle)?;
            }
            tokens.push(token);
            if tokens.len() == ENOUGH && !self.is_dense.swap(true, Ordering::Relaxed) {
                println!("{TRIED}{:?}", Attack::Dense);
            }
        }
        Ok(())
    }

    pub(super) fn storm(&self) -> Result<()> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..STORM)
                .map(|number| scope.spawn(move || self.gust(number)))
                .collect();
            for thread in threads {
                thread.join().unwrap_or(Ok(()))?;
            }
            Ok(())
        })
    }

    fn gust(&self, number: u64) -> Result<()> {
        // Some have no session then: a user may have no more.
        let session = self.session(&format!("storm-{number}"));
        for _ in 0..16 {
            if let Some(session) = &session
                && let Some(token) = self.preserve(session, 1)
            {
                let _ = session.list_files();
                let _ = session.unpreserve_fd(token);
            }
            let _ = self.device.info();
            let _ = self.device.state();
            let _ = self.device.list_sessions(Which::All);
            let _ = self.device.wait_for_change(Duration::from_millis(1));
        }
        Ok(())
    }

    pub(super) fn kinds(&self) -> Result<()> {
        let Some(session) = self.session("kinds") else {
            return Ok(());
        };
        let own = OfEachKind::new()?;
        for (token, file) in (1..).zip(own.all()) {
            let _ = session.preserve_fd(file, Token(token));
        }
        own.spoil()?;
        // Long enough to be met by each step of an update.
        std::thread::sleep(LATE);
        // The rest goes with the session.
        for token in [2, 4] {
            let _ = session.unpreserve_fd(Token(token));
        }
        Ok(())
    }
}
