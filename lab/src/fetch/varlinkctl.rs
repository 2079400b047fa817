// SPDX-License-Identifier: MIT OR Apache-2.0
//! systemd's own client of Varlink (255 or newer), which tests speak with luod by: the machine's, or
//! that of the systemd that the guests have.

use std::env;
use std::ffi::OsString;

use anyhow::{Result, ensure};

use crate::cache::Cache;
use crate::fetch::systemd::Release;
use crate::fetch::{debian, program};

/// What it is called.
const NAME: &str = "varlinkctl";

/// Runs it with the loader and the libraries of its folder.
const STARTER: &str = r#"#!/bin/sh
root=${0%/*}/root
libraries=$root/usr/lib/x86_64-linux-gnu
exec "$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$libraries:$libraries/systemd" \
    "$root/usr/bin/varlinkctl" "$@"
"#;

/// A search path with it.
///
/// # Errors
/// As [`debian::root`], or it does not start.
pub fn path(cache: &Cache) -> Result<OsString> {
    if program::runs(NAME.as_ref()) {
        return Ok(env::var_os("PATH").unwrap_or_default());
    }
    let root = debian::root(cache, &Release::Stable.set())?;
    let folder = program::folder(cache, &root, NAME, STARTER)?;
    ensure!(
        program::runs(&folder.join(NAME)),
        "the guests' {NAME} does not start here"
    );
    program::path_with(folder)
}
