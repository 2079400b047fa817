// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether the kernel can walk the stack through compiled code of ours.
//!
//! The kernel's `objtool` follows each way through a function. Where one leaves it at its end,
//! or leaves the stack other than it was, a stack trace through that function is wrong, and
//! what relies on stack traces with it (live patching, for one). The kernel's own build only
//! warns of that, and only when it compiles the file, so `objtool` looks at our object files
//! again after each build: by the rules of frame pointers where the kernel has them, and by
//! those of ORC in any case.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::build::kconfig;
use crate::build::panics::OBJECTS;

/// The program in a build folder.
const PROGRAM: &str = "tools/objtool/objtool";

/// Checks all object files of the orchestrator in a build folder.
///
/// # Errors
/// There is none, `objtool` is missing, or it has something to say; the message has it.
pub fn check(build: &Path) -> Result<()> {
    let config = fs::read_to_string(build.join(".config"))?;
    let frames = kconfig::parse(&config)
        .get("FRAME_POINTER")
        .is_some_and(|value| value == "y");
    let mut objects = objects(&build.join(OBJECTS))?;
    objects.sort();
    if objects.is_empty() {
        bail!(
            "there is no object file in {OBJECTS} of {}",
            build.display()
        );
    }
    let mut said = String::new();
    for object in &objects {
        for rule in rules(frames) {
            said += &look(build, rule, object)?;
        }
    }
    if said.is_empty() {
        return Ok(());
    }
    bail!("objtool does not understand code for the kernel:\n{said}")
}

/// What `objtool` is to look at. ORC's table cannot be made a second time, but its rules
/// are looked at by any of the other checks.
fn rules(frames: bool) -> &'static [&'static str] {
    if frames {
        &["--stackval", "--orc"]
    } else {
        &["--uaccess"]
    }
}

fn objects(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    paths
        .filter(|path: &Result<PathBuf>| {
            path.as_ref()
                .map_or(true, |path| path.extension().is_some_and(|ext| ext == "o"))
        })
        .collect()
}

/// All that `objtool` says of an object file, which it does not change.
fn look(build: &Path, rule: &str, object: &Path) -> Result<String> {
    let program = build.join(PROGRAM);
    let output = Command::new(&program)
        .args([rule, "--dry-run"])
        .arg(object)
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said += &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && said.is_empty() {
        said = format!("{}: {rule} fails without a word\n", object.display());
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A build folder whose `objtool` has something to say if it gets a rule for a file.
    fn build(config: &str, warns: &str) -> tempfile::TempDir {
        let build = tempfile::tempdir().unwrap();
        let at = |path: &str| build.path().join(path);
        fs::create_dir_all(at(OBJECTS)).unwrap();
        fs::create_dir_all(at(PROGRAM).parent().unwrap()).unwrap();
        fs::write(at(".config"), config).unwrap();
        let script =
            format!("#!/bin/sh\ncase \"$1 $3\" in {warns}) echo \"$3: warning\" >&2;; esac\n");
        fs::write(at(PROGRAM), script).unwrap();
        fs::set_permissions(at(PROGRAM), fs::Permissions::from_mode(0o755)).unwrap();
        build
    }

    #[test]
    fn a_warning_is_an_error_under_the_rules_that_the_kernel_needs() {
        let frames = "CONFIG_FRAME_POINTER=y\n";
        for (config, warns, accepted) in [
            (frames, "--stackval*/b.o", false),
            (frames, "--orc*/b.o", false),
            (frames, "--uaccess*", true),
            ("CONFIG_UNWINDER_ORC=y\n", "--uaccess*/b.o", false),
            ("CONFIG_UNWINDER_ORC=y\n", "--stackval*", true),
            (frames, "*.rmeta", true),
        ] {
            let build = build(config, warns);
            for name in ["a.o", "b.o", "b.rmeta"] {
                fs::write(build.path().join(OBJECTS).join(name), "").unwrap();
            }
            let checked = check(build.path());
            assert_eq!(checked.is_ok(), accepted, "{config}{warns}: {checked:?}");
        }
    }

    #[test]
    fn a_folder_without_objects_is_an_error() {
        assert!(check(build("", "nothing").path()).is_err());
    }
}
