// SPDX-License-Identifier: MIT OR Apache-2.0
//! An etcd for the tests of fleets, where the machine has none. It is unpacked, not installed:
//! Debian's package would start a service.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::{env, iter};

use anyhow::{Result, ensure};

use crate::cache::Cache;
use crate::fetch::apt::Suite;
use crate::fetch::debian::{self, Set};

/// Gives a `PATH` with an etcd in it.
///
/// # Errors
/// As [`debian::root`], or it does not start.
pub fn path(cache: &Cache) -> Result<OsString> {
    let own = env::var_os("PATH").unwrap_or_default();
    if runs("etcd".as_ref()) {
        return Ok(own);
    }
    let root = debian::root(
        cache,
        &Set {
            name: "etcd",
            suite: Suite::Stable,
            packages: vec!["etcd-server"],
            pins: &[],
        },
    )?;
    let folder = root.join("usr/bin");
    ensure!(
        runs(&folder.join("etcd")),
        "Debian's etcd does not start here"
    );
    Ok(env::join_paths(
        iter::once(folder).chain(env::split_paths(&own)),
    )?)
}

fn runs(program: &Path) -> bool {
    let ran = Command::new(program).arg("--version").output();
    ran.is_ok_and(|ran| ran.status.success())
}
