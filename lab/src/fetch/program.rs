// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs of Debian's packages that run on this machine, unpacked and not installed.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, iter};

use anyhow::Result;

use crate::cache::{Cache, Key, write_whole};

/// Whether a program is there and starts.
pub(super) fn runs(program: &Path) -> bool {
    let ran = Command::new(program).arg("--version").output();
    ran.is_ok_and(|ran| ran.status.success())
}

/// This process's search path, with a folder before all others.
///
/// # Errors
/// The folder's name has a colon in it.
pub(super) fn path_with(folder: PathBuf) -> Result<OsString> {
    let own = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(
        iter::once(folder).chain(env::split_paths(&own)),
    )?)
}

/// A folder with `root`, where the packages are, and beside it a script that starts the program of
/// that name: by the loader of its own root, for this machine's libraries may be older.
///
/// # Errors
/// It cannot be written.
pub(super) fn folder(cache: &Cache, root: &Path, name: &str, starter: &str) -> Result<PathBuf> {
    let place = root.display().to_string();
    let key = Key::default().add("root", place).add("starter", starter);
    cache.folder(&format!("tools/{name}-{}", key.short()), |dir| {
        std::os::unix::fs::symlink(root, dir.join("root"))?;
        let script = dir.join(name);
        write_whole(&script, starter.as_bytes())?;
        fs::set_permissions(&script, Permissions::from_mode(0o755))?;
        Ok(())
    })
}
