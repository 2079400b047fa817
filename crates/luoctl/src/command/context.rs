// SPDX-License-Identifier: MIT OR Apache-2.0
//! The context that all commands run in.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use luo_client::agent::{Admin, Status};

use super::pulse::{Pulse, given_up, moment, pulse};
use crate::document::Done;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::options::Options;
use crate::output::{Output, complain};

/// The output to write to, and the folder of the agent to ask.
pub(super) struct Context {
    pub(super) out: Output,
    pub(super) json: bool,
    pub(super) dry_run: bool,
    pub(super) folder: PathBuf,
    pub(super) timeout: Duration,
    /// The definition of the command line.
    pub(super) definition: fn() -> clap::Command,
}

/// Whoever has this waits, mostly for luod.
pub(super) struct Impatience {
    /// Its end ends the waiting.
    _done: mpsc::Sender<()>,
}

impl Context {
    pub(super) fn new(options: &Options, definition: fn() -> clap::Command) -> Self {
        Self {
            out: Output::standard(options.no_color),
            json: options.json,
            dry_run: options.dry_run,
            folder: options.runtime_directory.clone(),
            timeout: Duration::from_secs_f64(options.timeout),
            definition,
        }
    }

    /// A connection of an administrator.
    pub(super) fn admin(&self) -> Result<Admin> {
        let mut admin = Admin::connect_within(&self.folder, self.timeout)?;
        admin.set_timeout(Some(self.timeout));
        Ok(admin)
    }

    /// The same, for a call that waits for others, or that begins something: luod is looked at
    /// first, so that nothing is left with one that hangs.
    pub(super) fn admin_awake(&self) -> Result<Admin> {
        let _impatience = self.impatient();
        let admin = self.admin()?;
        match pulse(&self.folder, self.timeout) {
            Pulse::Answers | Pulse::Unknown => Ok(admin),
            Pulse::Hangs => Err(given_up(self.timeout, "nothing was asked of it")
                .next("`systemctl status luod` (without systemd `ps -o pid,stat,wchan -C luod`) says whether it hangs")),
        }
    }

    /// A connection that can only look.
    pub(super) fn status(&self) -> Result<Status> {
        let mut status = Status::connect_within(&self.folder, self.timeout)?;
        status.set_timeout(Some(self.timeout));
        Ok(status)
    }

    /// Asks luod something that it answers at once, and says after a moment that it does not.
    /// What else a command does, as reading a disk or writing its output, is not luod's delay.
    pub(super) fn asks<T>(&self, question: impl FnOnce() -> Result<T>) -> Result<T> {
        let _impatience = self.impatient();
        question()
    }

    /// Says after a moment, as long as what this gives is there, that luod does not answer.
    pub(super) fn impatient(&self) -> Impatience {
        self.impatient_of(format!(
            "luod does not answer yet; it has {} s (--timeout)",
            self.timeout.as_secs_f64()
        ))
    }

    /// Says something after a moment, as long as what this gives is there.
    pub(super) fn impatient_of(&self, words: String) -> Impatience {
        let (done, waits) = mpsc::channel::<()>();
        let moment = moment(self.timeout);
        let says = std::thread::Builder::new().spawn(move || {
            if waits.recv_timeout(moment) == Err(RecvTimeoutError::Timeout) {
                complain(format_args!("luoctl: {words}"));
            }
        });
        // Where there can be no thread it is left unsaid.
        drop(says);
        Impatience { _done: done }
    }

    /// Writes a text to a file, or to standard output.
    pub(super) fn write(&mut self, path: Option<&Path>, text: &str) -> Result<()> {
        match path {
            Some(path) => std::fs::write(path, text).map_err(|why| Failure::file(path, &why)),
            None => Ok(self.out.text(text)?),
        }
    }

    /// Says that something is done.
    pub(super) fn done(&mut self, command: &str, text: &str) -> Result {
        if self.json {
            self.out.document(&Done {
                done: command.to_owned(),
                dry_run: self.dry_run,
            })?;
        } else {
            self.out.line(text)?;
        }
        Ok(Exit::Done)
    }
}
