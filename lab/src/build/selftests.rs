// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel tree's own selftests of the orchestrator, as static programs.
//!
//! Compiled with gcc directly: the selftests' Makefile writes objects into the
//! source tree and wants the whole of kselftest around it. Neither our patches nor our
//! files touch them or the headers that they are made of.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::build::make::Make;
use crate::build::source::Source;
use crate::build::variant::Compiler;
use crate::cache::Cache;
use crate::fetch::toolchain::Toolchain;
use crate::process;

/// The programs, each one source file and a shared library of helpers.
pub const PROGRAMS: &[&str] = &[
    "liveupdate",
    "luo_kexec_simple",
    "luo_multi_session",
    "luo_stress_files",
    "luo_stress_sessions",
];

const FOLDER: &str = "tools/testing/selftests/liveupdate";

/// Gives the folder with the programs, building them if they are not there.
///
/// # Errors
/// The headers cannot be made or a program does not compile.
pub fn build(cache: &Cache, tools: &Toolchain, source: &Source) -> Result<PathBuf> {
    let key = source
        .pristine_key()
        .add("programs", PROGRAMS.join(" "))
        .short();
    cache.folder(&format!("selftests/{key}"), |dir| {
        let laid = source.as_it_is(cache)?;
        let headers = dir.join("headers");
        let make = Make {
            cache,
            tools,
            compiler: Compiler::Gcc,
            source: laid.root.clone(),
            build: headers.clone(),
        };
        std::fs::create_dir_all(&headers)?;
        make.run(
            "kernel headers for the selftests",
            "selftest-headers",
            make.command().arg("headers"),
        )?;
        for program in PROGRAMS {
            compile(
                &laid.root.join(FOLDER),
                &headers.join("usr/include"),
                program,
                &dir.join(program),
            )?;
        }
        std::fs::remove_dir_all(headers)?;
        Ok(())
    })
}

fn compile(source: &Path, headers: &Path, program: &str, output: &Path) -> Result<()> {
    let mut gcc = Command::new("gcc");
    gcc.args(["-static", "-O2", "-w", "-D_GNU_SOURCE="]);
    gcc.arg("-isystem")
        .arg(headers)
        .arg("-I")
        .arg(source.join("lib/include"))
        .arg("-I")
        .arg(source.join(".."));
    gcc.arg(source.join(format!("{program}.c")))
        .arg(source.join("lib/lu_utils.c"))
        .arg("-o")
        .arg(output);
    process::output(&mut gcc).map(drop)
}
