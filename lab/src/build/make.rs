// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls of the kernel's make, all with the same environment and folders.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::build::variant::Compiler;
use crate::cache::{Cache, write_whole};
use crate::fetch::toolchain::{LLVM, Toolchain};
use crate::process;
use crate::progress::{Step, Unit};

/// A source tree, a build folder and the tools.
#[derive(Debug)]
pub struct Make<'a> {
    /// The cache, for logs.
    pub cache: &'a Cache,
    /// The tools.
    pub tools: &'a Toolchain,
    /// The compiler of C.
    pub compiler: Compiler,
    /// The source tree.
    pub source: PathBuf,
    /// The build folder (`O=`).
    pub build: PathBuf,
}

impl Make<'_> {
    /// A make that is ready for its targets.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new("make");
        self.tools.apply(&mut command);
        // Images of the same inputs are the same bytes.
        command.env("KBUILD_BUILD_TIMESTAMP", "1970-01-01 00:00:00 UTC");
        command
            .env("KBUILD_BUILD_USER", "luo")
            .env("KBUILD_BUILD_HOST", "luo");
        command.env("KBUILD_BUILD_VERSION", "1").env("LC_ALL", "C");
        for name in [
            "ARCH",
            "CROSS_COMPILE",
            "KBUILD_OUTPUT",
            "LLVM",
            "CC",
            "LOCALVERSION",
        ] {
            command.env_remove(name);
        }
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        command
            .arg("-C")
            .arg(&self.source)
            .arg(format!("O={}", self.build.display()))
            .arg(format!("-j{jobs}"));
        if self.compiler == Compiler::Clang {
            command.arg(format!("LLVM=-{LLVM}"));
        }
        command
    }

    /// Runs a short target without counting.
    ///
    /// # Errors
    /// make fails.
    pub fn run(&self, title: &str, log: &str, command: &mut Command) -> Result<()> {
        let mut step = Step::new(title);
        process::logged(command, &self.cache.log(log), &mut step, |step, _| {
            step.tick()
        })?;
        step.done();
        Ok(())
    }

    /// Runs a long target, counting what it makes against the last time.
    ///
    /// # Errors
    /// make fails.
    pub fn run_counted(&self, title: &str, log: &str, command: &mut Command) -> Result<()> {
        // A build from nothing and one after a flip differ by far.
        let kind = if self.build.join("vmlinux").exists() {
            "again"
        } else {
            "whole"
        };
        let memory = self.cache.path("logs").join(format!("count-{kind}"));
        let total = remembered(&memory);
        let mut step = Step::counting(title, Unit::Things("objects"), total);
        let mut made = 0;
        process::logged(command, &self.cache.log(log), &mut step, |step, line| {
            made += u64::from(line.is_some_and(is_object));
            step.set(made);
        })?;
        step.done_with(&format!("{made} objects"));
        write_whole(&memory, made.to_string().as_bytes())
    }
}

fn remembered(memory: &Path) -> Option<u64> {
    fs::read_to_string(memory).ok()?.parse().ok()
}

/// Whether a line says that something is being made, as `  CC      init/main.o`.
fn is_object(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("  ") else {
        return false;
    };
    rest.split_once(' ').is_some_and(|(verb, _)| {
        !verb.is_empty()
            && verb
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_told_from_talk() {
        assert!(is_object("  CC      init/main.o"));
        assert!(is_object("  RUSTC L rust/core.o"));
        assert!(!is_object("make[1]: Entering directory"));
        assert!(!is_object("   12 warnings"));
        assert!(!is_object("init/main.c:3: warning: x"));
    }
}
