// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian's packages, built by the commands of dist/README.md and looked into: each has its
//! programs, which start, its manual pages, which can be read, its copyright and its changes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use luo_lab::fetch::toolchain;
use luo_lab::lab::Lab;
use luo_lab::process;
use luo_lab::progress::Step;
use walkdir::WalkDir;

/// What it is called where it is written down.
pub(super) const NAME: &str = "packages";
/// And in words.
pub(super) const TITLE: &str = "Debian's packages, as dist/README.md builds them";

const CHAPTER: &str = "dist/README.md";
const HEADING: &str = "## Debian packages\n";
/// The line of the chapter that the cache stands in for.
const INSTALL: &str = "cargo install cargo-deb";
const PROGRAM: &str = "cargo-deb";
const VERSION: &str = "3.8.0";

/// Builds all of them and looks into each.
///
/// # Errors
/// A command of the chapter fails, or a package lacks something.
pub(super) fn are_built(lab: &Lab) -> Result<()> {
    let chapter = fs::read_to_string(lab.repo.join(CHAPTER)).context(CHAPTER)?;
    let script = script(&chapter).with_context(|| format!("{CHAPTER} is another"))?;
    let tools = toolchain::cargo_tool(&lab.cache, PROGRAM, PROGRAM, VERSION)?;
    let packages = lab.repo.join("target/debian");
    // Those of earlier versions are none of this run.
    match fs::remove_dir_all(&packages) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(why.into()),
        _ => {}
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(tools).chain(std::env::split_paths(&path));
    let mut command = Command::new("sh");
    command.args(["-e", "-c", &script]).current_dir(&lab.repo);
    command.env("PATH", std::env::join_paths(paths)?);
    // They are looked for in the folder that the chapter names.
    command.env_remove("CARGO_TARGET_DIR");
    let mut step = Step::new("build the packages");
    process::logged(&mut command, &lab.cache.log(NAME), &mut step, |step, _| {
        step.tick();
    })?;
    step.done();
    let wanted = names(&script);
    let mut found = Vec::new();
    for file in fs::read_dir(&packages).context("target/debian")? {
        let file = file?.path();
        let name = look_into(&file).with_context(|| file.display().to_string())?;
        found.push(name);
    }
    found.sort();
    ensure!(
        found.len() == wanted,
        "{wanted} packages are built by {CHAPTER}, and there are {found:?}"
    );
    Ok(())
}

/// The lines that are typed, but for the one that installs the program.
fn script(chapter: &str) -> Option<String> {
    let (_, part) = chapter.split_once(HEADING)?;
    let part = part.split("\n## ").next()?;
    let typed = part.lines().filter_map(|line| line.strip_prefix("    "));
    let typed: Vec<_> = typed.collect();
    let rest = typed.strip_prefix(&[INSTALL])?;
    Some(rest.join("\n"))
}

/// How many packages a script builds.
fn names(script: &str) -> usize {
    let lines = script.lines();
    lines.filter(|line| line.starts_with("cargo deb ")).count()
}

/// Unpacks a package, and looks for what each has to have. Gives its name.
fn look_into(file: &Path) -> Result<String> {
    let field = |name: &str| -> Result<String> {
        let mut command = Command::new("dpkg-deb");
        let said = process::output(command.arg("--field").arg(file).arg(name))?;
        Ok(said.trim().to_owned())
    };
    let name = field("Package")?;
    for needed in ["Version", "Maintainer", "Description"] {
        ensure!(!field(needed)?.is_empty(), "it has no {needed}");
    }
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    process::output(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(file)
            .arg(root),
    )?;
    let documents = root.join("usr/share/doc").join(&name);
    for document in ["copyright", "changelog.gz"] {
        let there = documents.join(document).exists();
        ensure!(there, "it has no /usr/share/doc/{name}/{document}");
    }
    let mut programs = 0;
    for entry in WalkDir::new(root) {
        let entry = entry?;
        let path = entry.path();
        let place = path.strip_prefix(root)?;
        let mode = entry.metadata()?.permissions().mode();
        // A link has no mode of its own.
        ensure!(
            entry.path_is_symlink() || mode & 0o022 == 0,
            "others may write {}",
            place.display()
        );
        let is_file = entry.file_type().is_file();
        if is_file && (place.starts_with("usr/bin") || place.starts_with("usr/sbin")) {
            let said = process::output(Command::new(path).arg("--version"))?;
            ensure!(
                said.contains(env!("CARGO_PKG_VERSION")),
                "{} says it is {said}",
                place.display()
            );
            programs += 1;
        } else if is_file && place.starts_with("usr/share/man") {
            let said = process::output(Command::new("gzip").arg("-dc").arg(path))?;
            ensure!(said.contains(".TH "), "{} is no page", place.display());
        }
    }
    match (name.starts_with("lib"), programs) {
        (false, 0) => bail!("it has no program"),
        _ => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::read;

    #[test]
    fn the_chapter_is_what_is_run() {
        let script = script(&read(CHAPTER)).unwrap();
        assert!(!script.contains(INSTALL), "{script}");
        assert!(script.contains("install-c --prefix /usr"), "{script}");
        assert!(names(&script) > 4, "{script}");
        assert_eq!(super::script("## Debian packages\n\n    other\n"), None);
    }
}
