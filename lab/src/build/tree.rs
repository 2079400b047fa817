// SPDX-License-Identifier: MIT OR Apache-2.0
//! A source tree with some files managed by us.
//!
//! The tree is unpacked once and then kept, so that make recompiles only what
//! changed. Files that we replace are saved first, files that we no longer
//! manage go back to what they were, and a file whose content is right is not
//! touched at all: its time stamp is what make looks at.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cache::write_whole;

/// Paths below the tree and what they shall contain; `None` is a file that
/// shall be absent.
pub type Desired = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// A tree, its list of managed files and their saved originals.
#[derive(Debug)]
pub struct Tree {
    /// The tree itself.
    pub root: PathBuf,
    saved: PathBuf,
    list: PathBuf,
    managed: BTreeSet<PathBuf>,
}

/// What [`Tree::lay`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files written.
    pub written: usize,
    /// Files removed.
    pub removed: usize,
}

impl Tree {
    /// A tree that was unpacked at `root`.
    ///
    /// # Errors
    /// The list of managed files is there and cannot be read.
    pub fn open(root: PathBuf) -> Result<Self> {
        let beside = |what: &str| {
            let mut name = root.as_os_str().to_owned();
            name.push(what);
            PathBuf::from(name)
        };
        let list = beside(".managed.json");
        let managed = if list.exists() {
            serde_json::from_slice(&fs::read(&list)?).with_context(|| {
                format!(
                    "{} is damaged: run `cargo xtask kernel clean`",
                    list.display()
                )
            })?
        } else {
            BTreeSet::new()
        };
        Ok(Self {
            saved: beside(".pristine"),
            list,
            managed,
            root,
        })
    }

    /// The content of a file as it was before us, if it was there.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn pristine(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        let saved = self.saved.join(path);
        if saved.exists() {
            return Ok(Some(fs::read(saved)?));
        }
        let original = self.root.join(path);
        if self.managed.contains(path) || !original.exists() {
            return Ok(None);
        }
        Ok(Some(fs::read(original)?))
    }

    /// Makes the managed files be exactly `desired`.
    ///
    /// It can be interrupted at any point and called again.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn lay(&mut self, desired: &Desired) -> Result<Changes> {
        // Originals first, then the list, then the tree: whatever the list
        // does not name has not been touched.
        for path in desired.keys().filter(|path| !self.managed.contains(*path)) {
            if let Some(content) = self.pristine(path)? {
                write_whole(&self.saved.join(path), &content)?;
            }
        }
        let before = self.managed.clone();
        self.managed.extend(desired.keys().cloned());
        self.write_list()?;

        let mut changes = Changes::default();
        for path in before.iter().filter(|path| !desired.contains_key(*path)) {
            let content = self.pristine(path)?;
            self.put(path, content.as_deref(), &mut changes)?;
        }
        for (path, content) in desired {
            self.put(path, content.as_deref(), &mut changes)?;
        }

        self.managed = desired.keys().cloned().collect();
        self.write_list()?;
        // Only now that the list no longer names them.
        for path in before.iter().filter(|path| !desired.contains_key(*path)) {
            let saved = self.saved.join(path);
            if saved.exists() {
                fs::remove_file(saved)?;
            }
        }
        Ok(changes)
    }

    fn put(&self, path: &Path, content: Option<&[u8]>, changes: &mut Changes) -> Result<()> {
        let file = self.root.join(path);
        match content {
            Some(content) if fs::read(&file).ok().as_deref() != Some(content) => {
                changes.written += 1;
                write_like(&file, content)
            }
            None if file.exists() => {
                changes.removed += 1;
                fs::remove_file(&file)
                    .with_context(|| format!("cannot remove {}", file.display()))?;
                // An empty folder is left by a removed overlay file only.
                if let Some(parent) = file.parent() {
                    let _ = fs::remove_dir(parent);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn write_list(&self) -> Result<()> {
        write_whole(&self.list, &serde_json::to_vec_pretty(&self.managed)?)
    }
}

/// Replaces a file's content and keeps its mode: scripts stay executable.
fn write_like(file: &Path, content: &[u8]) -> Result<()> {
    let mode = fs::metadata(file).map(|data| data.permissions()).ok();
    write_whole(file, content)?;
    if let Some(mode) = mode {
        fs::set_permissions(file, mode)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired(files: &[(&str, Option<&str>)]) -> Desired {
        files
            .iter()
            .map(|(path, text)| {
                (
                    PathBuf::from(path),
                    text.map(|text| text.as_bytes().to_vec()),
                )
            })
            .collect()
    }

    #[test]
    fn files_come_and_go_and_originals_return() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("linux");
        fs::create_dir_all(root.join("kernel")).unwrap();
        fs::write(root.join("kernel/Makefile"), "old").unwrap();
        fs::write(root.join("kernel/gone.c"), "gone").unwrap();
        let read = |path: &str| fs::read_to_string(root.join(path)).ok();

        let mut tree = Tree::open(root.clone()).unwrap();
        let first = desired(&[
            ("kernel/Makefile", Some("new")),
            ("kernel/rust/a.rs", Some("a")),
            ("kernel/gone.c", None),
        ]);
        assert_eq!(
            tree.lay(&first).unwrap(),
            Changes {
                written: 2,
                removed: 1
            }
        );
        assert_eq!(read("kernel/Makefile").unwrap(), "new");
        assert_eq!(read("kernel/gone.c"), None);

        // A second process sees the same state and has nothing to do.
        let mut tree = Tree::open(root.clone()).unwrap();
        assert_eq!(tree.lay(&first).unwrap(), Changes::default());
        assert_eq!(
            tree.pristine(Path::new("kernel/Makefile"))
                .unwrap()
                .unwrap(),
            b"old"
        );
        assert_eq!(tree.pristine(Path::new("kernel/rust/a.rs")).unwrap(), None);

        let second = desired(&[("kernel/Makefile", Some("newer"))]);
        assert_eq!(
            tree.lay(&second).unwrap(),
            Changes {
                written: 2,
                removed: 1
            }
        );
        assert_eq!(read("kernel/gone.c").unwrap(), "gone");
        assert_eq!(read("kernel/rust/a.rs"), None);

        assert_eq!(tree.lay(&Desired::new()).unwrap().written, 1);
        assert_eq!(read("kernel/Makefile").unwrap(), "old");
    }
}
