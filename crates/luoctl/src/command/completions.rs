// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl completions`

use clap_complete::Shell;

use super::context::Context;
use crate::exit::Exit;
use crate::failure::Result;

/// Writes completions for a shell.
///
/// Packages have them already; where luoctl was installed by hand, bash reads them from
/// /usr/share/bash-completion/completions/luoctl.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(context: &mut Context, args: &Args) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut (context.definition)(),
        "luoctl",
        &mut script,
    );
    context.out.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
