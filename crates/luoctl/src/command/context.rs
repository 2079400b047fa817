// SPDX-License-Identifier: MIT OR Apache-2.0
//! What all commands have.

use std::path::PathBuf;

use luo_client::agent::{Admin, Status};

use crate::cli::Options;
use crate::document::Done;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::Output;

/// Where to write, and whom to ask.
pub(super) struct Context {
    pub(super) out: Output,
    pub(super) json: bool,
    pub(super) dry_run: bool,
    pub(super) folder: PathBuf,
}

impl Context {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            out: Output::standard(options.no_color),
            json: options.json,
            dry_run: options.dry_run,
            folder: options.runtime_directory.clone(),
        }
    }

    /// A connection of an administrator.
    pub(super) fn admin(&self) -> Result<Admin> {
        Admin::connect_to(&self.folder).map_err(Failure::from)
    }

    /// A connection of somebody who looks.
    pub(super) fn status(&self) -> Result<Status> {
        Status::connect_to(&self.folder).map_err(Failure::from)
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
