// SPDX-License-Identifier: MIT OR Apache-2.0
//! The context that all commands run in.

use std::path::{Path, PathBuf};

use luo_client::agent::{Admin, Status};

use crate::document::Done;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::options::Options;
use crate::output::Output;

/// The output to write to, and the folder of the agent to ask.
pub(super) struct Context {
    pub(super) out: Output,
    pub(super) json: bool,
    pub(super) dry_run: bool,
    pub(super) folder: PathBuf,
    /// The definition of the command line.
    pub(super) definition: fn() -> clap::Command,
}

impl Context {
    pub(super) fn new(options: &Options, definition: fn() -> clap::Command) -> Self {
        Self {
            out: Output::standard(options.no_color),
            json: options.json,
            dry_run: options.dry_run,
            folder: options.runtime_directory.clone(),
            definition,
        }
    }

    /// A connection of an administrator.
    pub(super) fn admin(&self) -> Result<Admin> {
        Admin::connect_to(&self.folder).map_err(Failure::from)
    }

    /// A connection that can only look.
    pub(super) fn status(&self) -> Result<Status> {
        Status::connect_to(&self.folder).map_err(Failure::from)
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
