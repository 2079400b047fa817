// SPDX-License-Identifier: MIT OR Apache-2.0
//! The administrator's side of [`super::lines`].

use std::fs;
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, ensure};

use super::cast::{LINER, LINES, PATIENCE};
use super::evil::TRIED;
use super::shares::can_hold;
use super::{Before, lines};
use crate::check::name;
use crate::program::READY;

impl Before<'_> {
    /// Nobody waits in the line who lets go of an end, in CANCEL, UNPRESERVE_FD or a close.
    pub(super) fn stand_in_lines(&self) -> Result<()> {
        can_hold()?;
        let (reads, written) = lines::pipes()?;
        let session = self.device.create_session(&name("lines"))?;
        for (token, end) in lines::tokens().zip(&reads) {
            session.preserve_fd(end, token)?;
        }
        // What is preserved has the only reference.
        drop(reads);
        let passed: Vec<_> = written.iter().map(|end| end.as_fd()).collect();
        let mut program = self.groups.start(LINER, lines::LEFT, &passed)?;
        drop(written);
        program.says(READY, 1, PATIENCE)?;
        let (timed, device) = (self.timed, &self.device);
        timed.event("prepare", || device.prepare())?;
        timed.event("freeze", || device.freeze())?;
        fs::write(crate::program::GO, "")?;
        program.says(TRIED, 1, PATIENCE)?;
        fs::remove_file(crate::program::GO)?;
        timed
            .event("cancel, beside lines of writers", || device.cancel())
            .context("cancel")?;
        for token in lines::tokens().take(LINES as usize / 2) {
            let what = "UNPRESERVE_FD, beside lines of writers";
            timed.call(what, || session.unpreserve_fd(token))?;
        }
        timed.call("close, beside lines of writers", || drop(session));
        ensure!(program.runs()?, "it has ended");
        self.under_attack()?;
        program.kill()?;
        self.under_attack()
    }
}
