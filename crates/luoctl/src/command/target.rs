// SPDX-License-Identifier: MIT OR Apache-2.0
//! The options that name the kernel to jump into.

use std::path::{Path, PathBuf};

use luo_varlink::Target;

use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// The kernel to jump into; what is not named is taken from luod.toml.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Args {
    /// The kernel's image.
    #[arg(long, value_name = "IMAGE")]
    kernel: Option<PathBuf>,
    /// Its initrd. That of luod.toml is not taken for another kernel.
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Its command line; the running kernel's if there is none.
    #[arg(long, value_name = "LINE")]
    command_line: Option<String>,
}

impl Args {
    /// As the agent takes it.
    pub(super) fn target(&self) -> Result<Target> {
        let path = |path: &Option<PathBuf>| path.as_deref().map(absolute).transpose();
        Ok(Target {
            image: path(&self.kernel)?,
            initrd: path(&self.initrd)?,
            command_line: self.command_line.clone(),
        })
    }
}

/// An absolute path: the agent runs in another folder.
fn absolute(path: &Path) -> Result<String> {
    let bad = |why: String| {
        let message = format!("{}: {why}", path.display());
        Failure::new(Exit::Usage, "usage", message)
    };
    let absolute = std::path::absolute(path).map_err(|why| bad(why.to_string()))?;
    let text = absolute.into_os_string().into_string();
    text.map_err(|_| bad("the agent takes paths in UTF-8 only".to_owned()))
}
