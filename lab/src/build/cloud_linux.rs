// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Linux for guests that the machine has: what of Debian's package they need.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use luo_lab_protocol::LINUX_DIR;
use walkdir::WalkDir;

use crate::build::initramfs::{Node, Tree};
use crate::cache::Cache;
use crate::fetch::cloud_linux;

/// The modules of a network card of virtio's, in the order in which they need each other.
const MODULES: [&str; 3] = ["failover", "net_failover", "virtio_net"];

/// The kernel, and modules by whose names they are in order.
///
/// # Errors
/// The package is not to be had, or does not have one of them.
pub fn files(cache: &Cache) -> Result<Tree> {
    of(&cloud_linux::root(cache)?)
}

fn of(root: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    let mut put = |name: &str, from: PathBuf| {
        let place = format!("{}/{name}", LINUX_DIR.trim_start_matches('/'));
        tree.insert(place, Node::File { from, mode: 0o644 });
    };
    put("vmlinuz", find(root, |name| name.starts_with("vmlinuz-"))?);
    for (number, module) in MODULES.iter().enumerate() {
        // Debian compresses them, and its kernel takes them so.
        let file = format!("{module}.ko.xz");
        let from = find(root, |name| name == file)?;
        put(&format!("modules/{number}-{file}"), from);
    }
    Ok(tree)
}

/// The file of a name that is wanted.
fn find(root: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let mut entries = WalkDir::new(root).into_iter().flatten();
    let found = entries.find(|entry| entry.file_name().to_str().is_some_and(&wanted));
    let found =
        found.with_context(|| format!("{}: a file of the kernel is missing", root.display()))?;
    Ok(found.into_path())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn modules_are_in_order_and_none_may_be_missing() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str| fs::write(root.path().join(name), "").unwrap();
        write("vmlinuz-6.12");
        for module in ["virtio_net.ko.xz", "failover.ko.xz", "net_failover.ko.xz"] {
            write(module);
        }
        let tree = of(root.path()).unwrap();
        let places: Vec<_> = tree.keys().map(String::as_str).collect();
        assert_eq!(
            places,
            [
                "linux/modules/0-failover.ko.xz",
                "linux/modules/1-net_failover.ko.xz",
                "linux/modules/2-virtio_net.ko.xz",
                "linux/vmlinuz",
            ]
        );
        fs::remove_file(root.path().join("failover.ko.xz")).unwrap();
        assert!(of(root.path()).is_err());
    }
}
