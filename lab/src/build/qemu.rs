// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU for guests that run guests of their own: what of its packages they need.

use anyhow::Result;

use crate::build::initramfs::{Node, Tree, add_all};
use crate::cache::Cache;
use crate::fetch::qemu;

/// An initramfs is in memory, twice while it is handed over.
const FILES: &[&str] = &[
    "usr/bin/qemu-system-x86_64",
    "usr/share/qemu/kvmvapic.bin",
    "usr/share/qemu/linuxboot_dma.bin",
    "usr/share/qemu/multiboot_dma.bin",
    "usr/share/seabios/bios-256k.bin",
];

const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu/";

/// Where programs look for their loader and libraries.
const LINKS: &[(&str, &str)] = &[("lib", "usr/lib"), ("lib64", "usr/lib64")];

/// The files.
///
/// # Errors
/// The packages are not to be had, or a file cannot be read.
pub fn files(cache: &Cache) -> Result<Tree> {
    let mut tree = Tree::new();
    for (name, target) in LINKS {
        tree.insert((*name).to_owned(), Node::Link((*target).to_owned()));
    }
    add_all(&mut tree, &qemu::root(cache)?, is_kept)?;
    Ok(tree)
}

fn is_kept(place: &str) -> bool {
    let library = place.strip_prefix(LIBRARIES);
    FILES.contains(&place)
        || place.starts_with("usr/lib64/")
        || library.is_some_and(|name| !name.contains('/') && name.contains(".so"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_gets_what_qemu_starts_with() {
        for kept in [
            "usr/bin/qemu-system-x86_64",
            "usr/lib64/ld-linux-x86-64.so.2",
            "usr/lib/x86_64-linux-gnu/libc.so.6",
        ] {
            assert!(is_kept(kept), "{kept}");
        }
        for left in [
            "usr/bin/qemu-system-x86_64-microvm",
            "usr/lib/x86_64-linux-gnu/gconv/IBM037.so",
            "usr/share/qemu/skiboot.lid",
        ] {
            assert!(!is_kept(left), "{left}");
        }
    }
}
