// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl schema`

use super::context::Context;
use crate::document;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::text::plain;

/// Writes the JSON schema of what `--json` writes.
///
/// `freeze`, `cancel` and `release`
/// write `done`, `update`, `watch` and `kexec` write `line`, and whatever fails writes
/// `error`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The document; without one, all are listed.
    document: Option<String>,
}

pub(super) fn run(context: &mut Context, args: &Args) -> Result {
    let all = document::schemas();
    let Some(wanted) = &args.document else {
        for (name, _) in all {
            context.out.line(name)?;
        }
        return Ok(Exit::Done);
    };
    let found = all.into_iter().find(|(name, _)| name == wanted);
    let (_, schema) = found.ok_or_else(|| {
        let message = format!("there is no document '{}'", plain(wanted));
        Failure::new(Exit::Usage, "usage", message).next("`luoctl schema` lists them")
    })?;
    context.out.document(&schema)?;
    Ok(Exit::Done)
}
