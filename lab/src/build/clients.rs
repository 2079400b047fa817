// SPDX-License-Identifier: MIT OR Apache-2.0
//! Our own test programs in C, as static programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cache::{Cache, Key};
use crate::process;

/// The programs, each one source file.
pub const PROGRAMS: &[&str] = &["rfc_client"];

const FOLDER: &str = "lab/guest/c";

/// Gives the folder with the programs, building them if they are not there.
///
/// # Errors
/// A program does not compile, warnings being errors.
pub fn build(cache: &Cache, repo: &Path) -> Result<PathBuf> {
    let mut key = Key::default();
    for program in PROGRAMS {
        let path = source(repo, program);
        let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
        key = key.add(program, text);
    }
    cache.folder(&format!("clients/{}", key.short()), |dir| {
        for program in PROGRAMS {
            let mut gcc = Command::new("gcc");
            gcc.args(["-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
                .arg(dir.join(program))
                .arg(source(repo, program));
            process::output(&mut gcc)?;
        }
        Ok(())
    })
}

fn source(repo: &Path, program: &str) -> PathBuf {
    repo.join(FOLDER).join(format!("{program}.c"))
}
