// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where downloads, tools, trees and images are kept.
//!
//! Everything is named by the content of its inputs, and a result is whole or
//! absent: it is made under another name and renamed as the last act.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// How many hex digits of a hash stand in a file name.
const KEY_DIGITS: usize = 12;

/// The cache folder.
///
/// Reading what is whole needs no lock, so machines run while another run
/// builds. Whoever makes something holds the lock of the folder that it is in: two
/// runs can make different things at once, as a kernel and a tool.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    held: Arc<Mutex<BTreeMap<String, Weak<File>>>>,
}

/// Keeps other runs out of a folder of the cache while it lives. Within a run it can be
/// taken again: one result is made on the way to another.
#[derive(Debug)]
pub struct CacheLock {
    _file: Arc<File>,
}

impl Cache {
    /// Opens the cache at `$LUO_CACHE`, or `luo` in the user's cache folder.
    ///
    /// # Errors
    /// No such folder can be named or made.
    pub fn open() -> Result<Self> {
        let variable = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let root = variable("LUO_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|dir| dir.join("luo")))
            .or_else(|| variable("HOME").map(|dir| dir.join(".cache/luo")))
            .context("neither LUO_CACHE, XDG_CACHE_HOME nor HOME is set: set LUO_CACHE to a folder with 10 GB of room")?;
        let root = std::path::absolute(root)?;
        fs::create_dir_all(root.join("logs")).with_context(|| {
            format!(
                "cannot make {}: set LUO_CACHE to a folder that you can write to",
                root.display()
            )
        })?;
        Ok(Self::at(root))
    }

    pub(crate) fn at(root: PathBuf) -> Self {
        Self {
            root,
            held: Arc::default(),
        }
    }

    /// A path in the cache.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// The log file of a step.
    #[must_use]
    pub fn log(&self, step: &str) -> PathBuf {
        self.root.join("logs").join(format!("{step}.log"))
    }

    /// Waits until no other run works in `folder`, a folder of the cache, and keeps
    /// others out.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub fn lock(&self, folder: &str) -> Result<CacheLock> {
        let held = self.held().get(folder).and_then(Weak::upgrade);
        if let Some(file) = held {
            return Ok(CacheLock { _file: file });
        }
        let path = self.path("locks").join(folder);
        fs::create_dir_all(self.path("locks"))?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!(
                    "another run is building in {}: waiting for it",
                    self.path(folder).display()
                );
                file.lock()?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        let file = Arc::new(file);
        let mut held = self.held();
        held.insert(folder.to_owned(), Arc::downgrade(&file));
        Ok(CacheLock { _file: file })
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Weak<File>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `name` in the cache, which `make` fills when it is absent.
    ///
    /// `make` gets an empty folder that becomes `name` only when it succeeds.
    ///
    /// # Errors
    /// Those of `make`, and of the file system.
    pub fn folder(&self, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let whole = self.path(name);
        if whole.exists() {
            return Ok(whole);
        }
        let _lock = self.lock(name.split('/').next().unwrap_or(name))?;
        if whole.exists() {
            // Made by whoever held the lock before us.
            return Ok(whole);
        }
        let parent = whole.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent)?;
        let half = tempfile::Builder::new()
            .prefix(".half-")
            .tempdir_in(parent)?;
        make(half.path())?;
        set_searchable(half.path())?;
        fs::rename(half.keep(), &whole)
            .with_context(|| format!("cannot name {}", whole.display()))?;
        Ok(whole)
    }

    /// Removes a path in the cache, whatever it is.
    ///
    /// # Errors
    /// It is there and cannot be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        if path.is_dir() {
            fs::remove_dir_all(&path)
        } else if path.exists() {
            fs::remove_file(&path)
        } else {
            Ok(())
        }
        .with_context(|| format!("cannot remove {}", path.display()))
    }
}

/// Temporary folders are private; results are for whoever may read the cache.
fn set_searchable(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// A hash over everything a result depends on.
#[derive(Clone, Debug, Default)]
pub struct Key(Sha256);

impl Key {
    /// Adds a named input. Name and length keep neighbours apart.
    #[must_use]
    pub fn add(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        self.0.update(format!("{name}\0{}\0", content.len()));
        self.0.update(content);
        self
    }

    /// Adds a file's content.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn add_file(self, name: &str, path: &Path) -> Result<Self> {
        let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(self.add(name, content))
    }

    /// The short form that stands in file names.
    #[must_use]
    pub fn short(self) -> String {
        short(&hex(&self.0.finalize())).to_owned()
    }
}

/// The part of a hex hash that stands in file names.
#[must_use]
pub fn short(hash: &str) -> &str {
    hash.get(..KEY_DIGITS).unwrap_or(hash)
}

/// A file's SHA-256 in hex.
///
/// # Errors
/// The file cannot be read.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..n]);
    }
}

/// Writes a file so that it is old or new, never half.
///
/// # Errors
/// Those of the file system.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    let parent = path.parent().context("a file needs a folder")?;
    fs::create_dir_all(parent)?;
    let mut half = tempfile::NamedTempFile::new_in(parent)?;
    half.write_all(content)?;
    half.as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))?;
    half.persist(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// Removes all but the newest `keep` entries of a folder.
///
/// # Errors
/// The folder cannot be read.
pub fn forget_oldest(folder: &Path, keep: usize) -> Result<()> {
    forget_oldest_of(folder, keep, |_| true)
}

/// As [`forget_oldest`], looking only at entries whose name is `of_kind`.
///
/// # Errors
/// The folder cannot be read.
pub fn forget_oldest_of(folder: &Path, keep: usize, of_kind: impl Fn(&str) -> bool) -> Result<()> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        // Another run may tidy up too: what is gone is gone.
        if let (true, Ok(data)) = (
            of_kind(&entry.file_name().to_string_lossy()),
            entry.metadata(),
        ) {
            found.push((data.modified()?, entry.path()));
        }
    }
    found.sort();
    for (_, path) in found.iter().rev().skip(keep) {
        let _ = if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_neighbours_apart() {
        let one = Key::default().add("a", "bc").short();
        let two = Key::default().add("ab", "c").short();
        assert_ne!(one, two);
        assert_eq!(one.len(), KEY_DIGITS);
        assert_eq!(one, Key::default().add("a", "bc").short());
    }

    #[test]
    fn the_lock_can_be_taken_again_and_ends_with_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().to_owned());
        let first = cache.lock("tools").unwrap();
        let second = cache.lock("tools").unwrap();
        let other = File::open(dir.path().join("locks/tools")).unwrap();
        drop(first);
        assert!(other.try_lock().is_err());
        drop(second);
        assert!(other.try_lock().is_ok());
    }

    #[test]
    fn folders_are_locked_one_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = [(); 2].map(|()| Cache::at(dir.path().to_owned())).into();
        let _images = one.lock("images").unwrap();
        let _tools = two.lock("tools").unwrap();
        let images = File::open(dir.path().join("locks/images")).unwrap();
        assert!(images.try_lock().is_err());
    }

    #[test]
    fn a_failed_folder_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().to_owned());
        let failed = cache.folder("tools/x", |half| {
            fs::write(half.join("half"), "half")?;
            anyhow::bail!("no")
        });
        assert!(failed.is_err());
        assert!(!cache.path("tools/x").exists());
        assert_eq!(fs::read_dir(cache.path("tools")).unwrap().count(), 0);
        assert!(
            cache
                .folder("tools/x", |half| Ok(fs::write(half.join("f"), "whole")?))
                .is_ok()
        );
        assert!(cache.path("tools/x/f").exists());
    }
}
