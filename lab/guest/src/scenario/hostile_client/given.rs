// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program without privileges that holds sessions of the administrator's, and does its worst
//! with them.

use std::fs::{self, File};
use std::os::fd::AsFd as _;

use anyhow::{Result, ensure};
use luo_conformance::forge::{self, Hold};
use luo_scenes::stage::until;
use luo_sys::{Errno, Session};

use super::cast::{GIVEN, HOLDER, PATIENCE};
use super::endless::preserves;
use super::holdings::sessions_of;
use super::{Before, evil, programs};
use crate::check::{name, same};
use crate::port;
use crate::program::{self, Program};

impl Before<'_> {
    pub(super) fn give(&self, part: &str, hangs: &File) -> Result<Program> {
        let mut given = Vec::new();
        for called in GIVEN {
            given.push(self.device.create_session(&name(called))?);
        }
        let mut given: Vec<_> = given.iter().map(Session::as_fd).collect();
        given.push(hangs.as_fd());
        let mut program = self.groups.start(HOLDER, part, &given)?;
        program.says(program::READY, 1, PATIENCE)?;
        Ok(program)
    }

    /// Somebody without privileges holds sessions of the administrator's: events may fail by
    /// them, in time, and say by which.
    pub(super) fn given(&self) -> Result<()> {
        let [misses, hangs, _] = GIVEN;
        let file = forge::open()?;
        let hold = Hold::on(preserves(&file)?)?;
        let mut program = self.give(programs::HOLDS, &file)?;
        program.says(evil::TRIED, 1, PATIENCE)?;
        // Now and then nothing is missing.
        until("that it misses a file", || {
            self.fails_by(misses, Errno::ENOLINK)
        })?;
        fs::write(program::GO, "")?;
        hold.reached()?;
        ensure!(self.fails_by(hangs, Errno::EBUSY)?, "it waits for nobody");
        fs::remove_file(program::GO)?;
        program.signal()?;
        drop(hold);
        program.kill()?;
        until("that its sessions are gone", || {
            Ok(sessions_of(&self.device, "given-")?.is_empty())
        })?;
        self.under_attack()
    }

    /// Whether a prepare fails, so and by that session; if not, it is taken back.
    fn fails_by(&self, session: &str, errno: Errno) -> Result<bool> {
        let device = &self.device;
        match self
            .timed
            .event("prepare, with one that holds", || device.prepare())
        {
            Ok(()) => {
                self.timed
                    .event("cancel, with one that holds", || device.cancel())?;
                Ok(false)
            }
            Err(why) => {
                let by = device.failure()?.session;
                port::progress(format!("{why}, by {by:?}"));
                same("the error", why.errno(), errno)?;
                same("who is named", by, Some(name(session)))?;
                Ok(true)
            }
        }
    }
}
