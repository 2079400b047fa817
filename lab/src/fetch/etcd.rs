// SPDX-License-Identifier: MIT OR Apache-2.0
//! An etcd for the tests of fleets, where the machine has none. It is unpacked, not installed:
//! Debian's package would start a service.

use std::env;
use std::ffi::OsString;

use anyhow::{Result, ensure};

use crate::cache::Cache;
use crate::fetch::apt::Suite;
use crate::fetch::debian::{self, Set};
use crate::fetch::program;

/// Gives a `PATH` with an etcd in it.
///
/// # Errors
/// As [`debian::root`], or it does not start.
pub fn path(cache: &Cache) -> Result<OsString> {
    if program::runs("etcd".as_ref()) {
        return Ok(env::var_os("PATH").unwrap_or_default());
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
        program::runs(&folder.join("etcd")),
        "Debian's etcd does not start here"
    );
    program::path_with(folder)
}
