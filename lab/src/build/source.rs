// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's source: what Debian has, unpacked once, with our patches and
//! files laid over it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::build::overlay;
use crate::build::patches::{self, Patch};
use crate::build::tree::{Changes, Desired, Tree};
use crate::cache::{Cache, CacheLock, Key};
use crate::fetch::apt::Deb;
use crate::fetch::linux;

/// Everything a kernel is compiled from.
#[derive(Debug)]
pub struct Source {
    deb: Deb,
    series: Vec<Patch>,
    /// The overlay's files by their place in the tree.
    pub overlay: Desired,
}

/// The source in the cache. Nobody else changes it while this lives.
#[derive(Debug)]
pub struct Laid {
    /// Where it is.
    pub root: PathBuf,
    _lock: CacheLock,
}

impl Source {
    /// Reads our part and sees to it that the package is there.
    ///
    /// # Errors
    /// The package is neither cached nor to be had.
    pub fn find(cache: &Cache, repo: &Path) -> Result<Self> {
        Self::of(linux::package(cache)?, repo)
    }

    /// Reads our part.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn of(deb: Deb, repo: &Path) -> Result<Self> {
        Ok(Self {
            deb,
            series: patches::series(repo)?,
            overlay: overlay::files(repo)?,
        })
    }

    /// A key with Debian's part alone.
    #[must_use]
    pub fn pristine_key(&self) -> Key {
        Key::default().add("linux", &self.deb.sha256)
    }

    /// A key with what every kernel from this source depends on.
    #[must_use]
    pub fn key(&self) -> Key {
        self.series.iter().fold(self.pristine_key(), |key, patch| {
            key.add(&patch.name, &patch.text)
        })
    }

    /// Unpacks the source where needed and leaves it as it is, with whatever checkout's
    /// patches and files lie over it: for what is made of neither. Laying ours would make
    /// the next kernel of that checkout wait for its compiler again.
    ///
    /// # Errors
    /// It cannot be unpacked.
    pub fn as_it_is(&self, cache: &Cache) -> Result<Laid> {
        let lock = cache.lock("src")?;
        let root = linux::unpacked(cache, &self.deb)?;
        Ok(Laid { root, _lock: lock })
    }

    /// Unpacks the source where needed and lays patches and overlay over it.
    ///
    /// # Errors
    /// It cannot be unpacked, or a patch does not apply.
    pub fn lay(&self, cache: &Cache) -> Result<Laid> {
        let lock = cache.lock("src")?;
        let root = linux::unpacked(cache, &self.deb)?;
        let mut tree = Tree::open(root.clone())?;
        let desired = overlay::merge(patches::applied(&tree, &self.series)?, &self.overlay)?;
        let changes = tree.lay(&desired)?;
        if changes != Changes::default() {
            let count = |n: usize| format!("{n} {}", if n == 1 { "file" } else { "files" });
            eprintln!(
                "==> kernel tree: {} written, {} removed",
                count(changes.written),
                count(changes.removed)
            );
        }
        Ok(Laid { root, _lock: lock })
    }
}
