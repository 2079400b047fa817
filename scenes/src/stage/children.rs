// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finding a child of a process that is not ours.

use std::fs;

use anyhow::{Context, Result};
use rustix::process::Pid;

/// The first child of a process.
pub(super) fn child_of(parent: u32) -> Result<Pid> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(&path).with_context(|| path.clone());
    let number = match children {
        Ok(children) => children.split_whitespace().next().map(str::to_owned),
        // A kernel without CONFIG_PROC_CHILDREN: all have to be asked.
        Err(_) => child_by_search(parent)?,
    };
    let number = number.context("it has no child")?.parse()?;
    Pid::from_raw(number).context("its number")
}

fn child_by_search(parent: u32) -> Result<Option<String>> {
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let stat = fs::read_to_string(format!("/proc/{name}/stat")).unwrap_or_default();
        // After the name in parentheses: the state, and the parent.
        let fields = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest)
            .unwrap_or_default();
        if fields.split_whitespace().nth(1) == Some(&parent.to_string()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
