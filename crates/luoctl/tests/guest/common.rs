// SPDX-License-Identifier: MIT OR Apache-2.0
//! What all of a script's lines need.

use std::env;
use std::path::PathBuf;
use std::process::Command;

pub(crate) type Result<T = ()> = core::result::Result<T, Box<dyn std::error::Error>>;

/// Where the agent's files lie.
pub(crate) fn folder() -> Result<PathBuf> {
    Ok(env::var_os("LUOCTL_TEST_FOLDER").ok_or("no folder")?.into())
}

/// `guest` stands for this program itself.
pub(crate) fn command(words: &[&str]) -> Command {
    let program = env::var_os("LUOCTL_TEST_LUOCTL").unwrap_or_default();
    let mut command = Command::new(program);
    for word in words {
        match *word {
            "guest" => command.arg(env::current_exe().unwrap_or_default()),
            word => command.arg(word),
        };
    }
    command
}
