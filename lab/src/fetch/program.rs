// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs of Debian's packages that run on this machine, unpacked and not installed.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, iter};

use anyhow::{Result, ensure};

use crate::cache::{Cache, Key, write_whole};
use crate::fetch::apt::Suite;
use crate::fetch::debian::{self, Set};

/// Whether a program is there and starts.
pub(super) fn runs(program: &Path) -> bool {
    let ran = Command::new(program).arg("--version").output();
    ran.is_ok_and(|ran| ran.status.success())
}

/// A program of a Debian package that is unpacked and not installed, for the package may start a
/// service. It runs with this machine's libraries.
#[derive(Clone, Copy, Debug)]
pub struct Unpacked {
    /// What it is called.
    pub program: &'static str,
    /// The package that has it in `/usr/bin`.
    pub package: &'static str,
}

/// The store of fleets, for their tests.
pub const ETCD: Unpacked = Unpacked {
    program: "etcd",
    package: "etcd-server",
};

/// What reads and tries rules of Prometheus, for the test of the alerts.
pub const PROMTOOL: Unpacked = Unpacked {
    program: "promtool",
    package: "promtool",
};

impl Unpacked {
    /// A search path with it: the machine's, if that has one.
    ///
    /// # Errors
    /// As [`debian::root`], or it does not start.
    pub fn path(self, cache: &Cache) -> Result<OsString> {
        if runs(self.program.as_ref()) {
            return Ok(env::var_os("PATH").unwrap_or_default());
        }
        let set = Set {
            name: self.program,
            suite: Suite::Stable,
            packages: vec![self.package],
            pins: &[],
        };
        let folder = debian::root(cache, &set)?.join("usr/bin");
        ensure!(
            runs(&folder.join(self.program)),
            "Debian's {} does not start here",
            self.program
        );
        path_with(folder)
    }
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
