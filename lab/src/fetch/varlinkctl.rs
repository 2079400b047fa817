// SPDX-License-Identifier: MIT OR Apache-2.0
//! systemd's own client of Varlink (255 or newer), which tests speak with luod by: the machine's, or
//! that of the systemd that the guests have.

use std::env;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::iter;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cache::Cache;
use crate::fetch::debian;
use crate::fetch::systemd::Release;

/// What it is called.
const NAME: &str = "varlinkctl";

/// A search path with it. It is started by the loader of its own root, for this machine's libraries
/// may be older.
///
/// # Errors
/// As [`debian::root`], or it does not start.
pub fn path(cache: &Cache) -> Result<OsString> {
    let own = env::var_os("PATH").unwrap_or_default();
    if runs(NAME.as_ref()) {
        return Ok(own);
    }
    let root = debian::root(cache, &Release::Stable.set())?;
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let script = format!(
        "#!/bin/sh\nexec '{0}' --library-path '{1}:{1}/systemd' '{2}' \"$@\"\n",
        root.join("usr/lib64/ld-linux-x86-64.so.2").display(),
        libraries.display(),
        root.join("usr/bin").join(NAME).display(),
    );
    let folder = root.with_extension("tools");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let program = folder.join(NAME);
    fs::write(&program, script).with_context(|| program.display().to_string())?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))?;
    ensure!(runs(&program), "the guests' {NAME} does not start here");
    Ok(env::join_paths(
        iter::once(folder).chain(env::split_paths(&own)),
    )?)
}

fn runs(program: &Path) -> bool {
    let ran = Command::new(program).arg("--version").output();
    ran.is_ok_and(|ran| ran.status.success())
}
