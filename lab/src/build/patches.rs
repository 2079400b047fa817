// SPDX-License-Identifier: MIT OR Apache-2.0
//! The patch series, applied to copies of the files that it touches.
//!
//! The tree itself is not patched in place: a series that does not apply must
//! leave the tree as it was, and a changed series must not touch files whose
//! final content is the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::build::tree::{Desired, Tree};
use crate::cache::write_whole;

/// A patch of the series.
#[derive(Clone, Debug)]
pub struct Patch {
    /// Its file name, which orders the series.
    pub name: String,
    /// Its content.
    pub text: Vec<u8>,
    path: PathBuf,
}

/// Reads `kernel/patches/*.patch` in order; none is fine.
///
/// # Errors
/// A patch cannot be read.
pub fn series(repo: &Path) -> Result<Vec<Patch>> {
    let dir = repo.join("kernel/patches");
    let Ok(entries) = fs::read_dir(&dir) else {
        return Ok(Vec::new());
    };
    let mut series = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "patch")
        {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let text =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            series.push(Patch { name, text, path });
        }
    }
    series.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(series)
}

/// What the files of the tree contain once the series is applied.
///
/// # Errors
/// A patch does not apply; the message names it and has what `patch` said.
pub fn applied(tree: &Tree, series: &[Patch]) -> Result<Desired> {
    let scratch = tempfile::tempdir()?;
    let mut all = BTreeSet::new();
    for patch in series {
        for path in touched(&String::from_utf8_lossy(&patch.text)) {
            if all.insert(path.clone())
                && let Some(content) = tree.pristine(&path)?
            {
                write_whole(&scratch.path().join(&path), &content)?;
            }
        }
        apply(scratch.path(), patch)?;
    }
    let content = |path: PathBuf| {
        let file = scratch.path().join(&path);
        let content = if file.exists() {
            Some(fs::read(&file)?)
        } else {
            None
        };
        Ok((path, content))
    };
    all.into_iter().map(content).collect()
}

fn apply(dir: &Path, patch: &Patch) -> Result<()> {
    let ran = Command::new("patch")
        .args([
            "-p1",
            "--forward",
            "--fuzz=0",
            "--batch",
            "--no-backup-if-mismatch",
            "--reject-file=-",
            "-i",
        ])
        .arg(&patch.path)
        .current_dir(dir)
        .output()
        .context("cannot run `patch`: is it installed?")?;
    if !ran.status.success() {
        bail!(
            "kernel/patches/{} does not apply to the kernel's source:\n{}\
             Adapt the patch to this kernel, or pin the kernel that it was made for",
            patch.name,
            String::from_utf8_lossy(&ran.stdout)
        );
    }
    Ok(())
}

/// The paths that a patch in `-p1` form names.
fn touched(text: &str) -> BTreeSet<PathBuf> {
    let mut paths = BTreeSet::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        // A removed line may start with `-- ` too: a header is a pair.
        let Some(old) = line.strip_prefix("--- ") else {
            continue;
        };
        let Some(new) = lines.peek().and_then(|next| next.strip_prefix("+++ ")) else {
            continue;
        };
        paths.extend([old, new].into_iter().filter_map(named));
    }
    paths
}

fn named(header: &str) -> Option<PathBuf> {
    let name = header.split('\t').next().unwrap_or(header).trim();
    if name == "/dev/null" {
        return None;
    }
    name.split_once('/').map(|(_, path)| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGE: &str = "--- a/Makefile\t2026\n+++ b/Makefile\n@@ -1 +1 @@\n-old\n+new\n";
    const CREATE: &str = "--- /dev/null\n+++ b/rust/a.rs\n@@ -0,0 +1 @@\n+a\n";
    const DELETE: &str = "--- a/gone.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n";

    fn patch(dir: &Path, name: &str, text: &str) -> Patch {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        Patch {
            name: name.into(),
            text: text.into(),
            path,
        }
    }

    #[test]
    fn headers_are_pairs() {
        let text =
            format!("{CHANGE}{CREATE}{DELETE}--- a comment that was removed\n another line\n");
        let expected = ["Makefile", "gone.c", "rust/a.rs"].map(PathBuf::from);
        assert_eq!(touched(&text), BTreeSet::from(expected));
    }

    #[test]
    fn a_series_changes_creates_and_deletes() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("linux");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("Makefile"), "old\n").unwrap();
        fs::write(root.join("gone.c"), "gone\n").unwrap();
        let tree = Tree::open(root.clone()).unwrap();
        let again = CHANGE.replace("new", "newer").replace("old", "new");
        let series = [
            patch(dir.path(), "1.patch", &format!("{CHANGE}{CREATE}")),
            patch(dir.path(), "2.patch", &format!("{again}{DELETE}")),
        ];
        let result = applied(&tree, &series).unwrap();
        assert_eq!(
            result[Path::new("Makefile")].as_deref(),
            Some(b"newer\n".as_slice())
        );
        assert_eq!(
            result[Path::new("rust/a.rs")].as_deref(),
            Some(b"a\n".as_slice())
        );
        assert_eq!(result[Path::new("gone.c")], None);
        // The tree has not been touched.
        assert_eq!(fs::read_to_string(root.join("Makefile")).unwrap(), "old\n");
    }

    #[test]
    fn the_selftests_are_not_patched() {
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let series = series(repo).unwrap();
        assert!(!series.is_empty());
        for patch in series {
            for path in touched(&String::from_utf8_lossy(&patch.text)) {
                let theirs = ["tools/testing", "include/uapi", "arch/x86/include/uapi"];
                assert!(
                    !theirs.iter().any(|folder| path.starts_with(folder)),
                    "{} changes {}: crate::build::selftests takes it as it was",
                    patch.name,
                    path.display()
                );
            }
        }
    }

    #[test]
    fn a_patch_that_does_not_apply_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("linux");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("Makefile"), "something else\n").unwrap();
        let tree = Tree::open(root).unwrap();
        let error = applied(&tree, &[patch(dir.path(), "0007-x.patch", CHANGE)])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("0007-x.patch") && error.contains("FAILED"),
            "{error}"
        );
    }
}
