// SPDX-License-Identifier: MIT OR Apache-2.0
//! The files that we add to the kernel's tree: `kernel/overlay` as it is, and
//! the crates that the kernel compiles from the same source as user space.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use walkdir::WalkDir;

use crate::build::tree::Desired;
use crate::cache::Key;

/// Folder in the repository, and where its files go in the tree.
const SOURCES: &[(&str, &str)] = &[
    ("kernel/overlay", ""),
    ("crates/luo-abi/src", "kernel/liveupdate/rust/luo_abi"),
    ("crates/luo-core/src", "kernel/liveupdate/rust/luo_core"),
    ("crates/luo-calls/src", "kernel/liveupdate/rust/luo_calls"),
    ("crates/luo-memfd/src", "kernel/liveupdate/rust/luo_memfd"),
];

/// Where the tool that damages handover data sits in the tree.
const FORGE: &str = "lib/tests/luo_forge_device.c";

/// What of the overlay a kernel with the C orchestrator does not compile.
const RUST_ONLY: &[&str] = &["kernel/liveupdate", "rust"];

/// The overlay's files by their place in the tree.
///
/// # Errors
/// A file cannot be read.
pub fn files(repo: &Path) -> Result<Desired> {
    let mut files = Desired::new();
    for (from, to) in SOURCES {
        let from = repo.join(from);
        if !from.exists() {
            continue;
        }
        for entry in WalkDir::new(&from).follow_links(true) {
            let entry = entry.with_context(|| format!("cannot read {}", from.display()))?;
            if !entry.file_type().is_file() || hidden(&entry) {
                continue;
            }
            let content = fs::read(entry.path())
                .with_context(|| format!("cannot read {}", entry.path().display()))?;
            let place = Path::new(to).join(entry.path().strip_prefix(&from)?);
            if files.insert(place.clone(), Some(content)).is_some() {
                bail!(
                    "two files of the overlay want to be {} in the kernel's tree: rename one",
                    place.display()
                );
            }
        }
    }
    Ok(files)
}

/// Editors leave these behind.
fn hidden(entry: &walkdir::DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    name.starts_with('.')
        || name.ends_with('~')
        || name.ends_with(".orig")
        || name.ends_with(".rej")
}

/// Whether the overlay has the forge.
#[must_use]
pub fn has_forge(files: &Desired) -> bool {
    files.contains_key(Path::new(FORGE))
}

/// Adds to a key what a kernel compiles of the overlay.
#[must_use]
pub fn key(files: &Desired, rust: bool, key: Key) -> Key {
    let counts = |path: &PathBuf| rust || !RUST_ONLY.iter().any(|dir| path.starts_with(dir));
    let files = files.iter().filter(|(path, _)| counts(path));
    files.fold(key, |key, (path, content)| {
        key.add(
            &path.to_string_lossy(),
            content.as_deref().unwrap_or_default(),
        )
    })
}

/// Patches and overlay together.
///
/// # Errors
/// Both want the same file.
pub fn merge(mut patched: Desired, overlay: &Desired) -> Result<Desired> {
    for (path, content) in overlay {
        if patched.insert(path.clone(), content.clone()).is_some() {
            bail!(
                "{} is both in kernel/overlay and changed by kernel/patches: keep one",
                path.display()
            );
        }
    }
    Ok(patched)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo(dir: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn crates_land_beside_the_host() {
        let dir = tempfile::tempdir().unwrap();
        repo(
            dir.path(),
            &[
                ("kernel/overlay/lib/tests/luo_forge_device.c", "f"),
                ("crates/luo-core/src/state/mod.rs", "s"),
            ],
        );
        let files = files(dir.path()).unwrap();
        assert!(has_forge(&files));
        assert!(files.contains_key(Path::new("kernel/liveupdate/rust/luo_core/state/mod.rs")));
    }

    #[test]
    fn the_c_kernel_does_not_depend_on_rust_files() {
        let dir = tempfile::tempdir().unwrap();
        repo(
            dir.path(),
            &[
                ("kernel/overlay/lib/tests/luo_forge_device.c", "f"),
                ("crates/luo-abi/src/lib.rs", "1"),
            ],
        );
        let before = files(dir.path()).unwrap();
        repo(dir.path(), &[("crates/luo-abi/src/lib.rs", "2")]);
        let after = files(dir.path()).unwrap();
        let short = |files, rust| key(files, rust, Key::default()).short();
        assert_eq!(short(&before, false), short(&after, false));
        assert_ne!(short(&before, true), short(&after, true));
        repo(
            dir.path(),
            &[("kernel/overlay/lib/tests/luo_forge_device.c", "g")],
        );
        assert_ne!(
            short(&after, false),
            short(&files(dir.path()).unwrap(), false)
        );
    }

    #[test]
    fn patches_and_overlay_do_not_fight() {
        let one = Desired::from([(PathBuf::from("a"), Some(vec![1]))]);
        assert!(merge(one.clone(), &one).is_err());
        assert_eq!(merge(Desired::new(), &one).unwrap(), one);
    }
}
