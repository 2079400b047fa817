// SPDX-License-Identifier: MIT OR Apache-2.0
//! The options that name the kernel to jump into.

use std::path::{Path, PathBuf};

use luo_varlink::Target;

use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// The kernel to jump into; what is not named is taken from luod.toml, and what that does
/// not name is what the boot loader would start.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Args {
    /// The kernel's image.
    #[arg(long, value_name = "IMAGE")]
    kernel: Option<PathBuf>,
    /// An entry of the boot loader that names the kernel, by its name without `.conf`.
    #[arg(long, value_name = "NAME", conflicts_with = "kernel")]
    entry: Option<String>,
    /// Its initrd; once for each, in order. Those of luod.toml are not taken for another
    /// kernel.
    #[arg(long, value_name = "FILE")]
    initrd: Vec<PathBuf>,
    /// Its command line. Without it that of luod.toml counts, unless `--entry` names an entry;
    /// else that of the entry, or that in a unified kernel image, or the running kernel's.
    #[arg(long, value_name = "LINE")]
    command_line: Option<String>,
}

impl Args {
    /// As the agent takes it.
    pub(super) fn target(&self) -> Result<Target> {
        let initrds = self.initrd.iter().map(|path| absolute(path));
        let mut initrds = initrds.collect::<Result<Vec<_>>>()?.into_iter();
        let initrd = initrds.next();
        let more: Vec<_> = initrds.collect();
        Ok(Target {
            image: self.kernel.as_deref().map(absolute).transpose()?,
            initrd,
            more_initrds: Some(more).filter(|more| !more.is_empty()),
            command_line: self.command_line.clone(),
            entry: self.entry.clone(),
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
