// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls that never end, in handlers of the test driver's that wait.

use std::fs::File;

use anyhow::Result;
use luo_conformance::forge::{self, Hold};

use crate::check::same;

/// Files of the test driver's of which a callback does not end.
pub(super) struct Endless {
    /// PRESERVE_FD of this one does not come back.
    pub(super) hangs: File,
    /// What lets go of this one does not come back.
    pub(super) keeps: File,
}

impl Endless {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            hangs: forge::open()?,
            keeps: forge::open()?,
        })
    }

    /// The callbacks that do not end, in the driver's words.
    pub(super) fn callbacks(&self) -> Result<[String; 2]> {
        Ok([
            preserves(&self.hangs)?,
            format!("unpreserve:{}", forge::id(&self.keeps)?),
        ])
    }
}

/// The callback that preserves a file of the test driver's.
pub(super) fn preserves(file: &File) -> Result<String> {
    Ok(format!("preserve:{}", forge::id(file)?))
}

/// Asserts which callbacks of the driver's are called and have not come back.
pub(super) fn stands_in(hold: &Hold, callbacks: &[String]) -> Result<()> {
    let mut held = hold.held()?;
    held.sort_unstable();
    same("the callbacks that do not end", held, callbacks.to_vec())
}
