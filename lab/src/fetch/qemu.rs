// SPDX-License-Identifier: MIT OR Apache-2.0
//! A QEMU that can take guests over an update, for machines whose own is too old: 8.2 is the
//! first that can, and Debian 12 has 7.2. It is unpacked, not installed, and runs with the
//! libraries of its own release.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cache::Cache;
use crate::fetch::apt::{Pin, Suite};
use crate::fetch::debian::{self, Set};
use crate::fetch::program;
use crate::process;

/// QEMU, its firmware, and the libraries that it is linked with. One that is missing here keeps
/// it from starting, and it says its name.
const PACKAGES: &[&str] = &[
    "libaio1t64",
    "libatomic1",
    "libblkid1",
    "libbpf1",
    "libc6",
    "libcap2",
    "libcapstone5",
    "libdaxctl1",
    "libelf1t64",
    "libfdt1",
    "libffi8",
    "libfuse3-4",
    "libglib2.0-0t64",
    "libgmp10",
    "libgnutls30t64",
    "libhogweed6t64",
    "libibverbs1",
    "libidn2-0",
    "libjpeg62-turbo",
    "libkmod2",
    "libmount1",
    "libndctl6",
    "libnettle8t64",
    "libnl-3-200",
    "libnl-route-3-200",
    "libnuma1",
    "libp11-kit0",
    "libpcre2-8-0",
    "libpixman-1-0",
    "libpmem1",
    "libpng16-16t64",
    "librdmacm1t64",
    "libsasl2-2",
    "libseccomp2",
    "libselinux1",
    "libslirp0",
    "libssl3t64",
    "libtasn1-6",
    "libudev1",
    "libunistring5",
    "liburing2",
    "libuuid1",
    "libvdeplug2t64",
    "libzstd1",
    "qemu-system-data",
    "qemu-system-x86",
    "seabios",
    "zlib1g",
];

const PINS: &[Pin] = &[
    Pin {
        package: "qemu-system-x86",
        version: "1:10.0.13+ds-0+deb13u1",
        sha256: "5e841d0723a657fd8bc2e9e1a085d24f47fcb3e4a0f94762e6c38b429f22fbb1",
    },
    Pin {
        package: "seabios",
        version: "1.16.3-2",
        sha256: "2b590534250b940f43222eeab9a8f57f337a9d9a73fc412a43ab8cd07a7e56f6",
    },
];

/// Runs it from wherever its folder is, with that folder's loader, libraries and firmware.
const STARTER: &str = r#"#!/bin/sh
root=${0%/*}/root
exec "$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" \
    "$root/usr/bin/qemu-system-x86_64" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" "$@"
"#;

/// What it is called.
const NAME: &str = "qemu-system-x86_64";

/// The first version with the migration mode `cpr-reboot`.
const FIRST: (u32, u32) = (8, 2);

/// Gives the folder with the packages unpacked in it: for a guest's root.
///
/// # Errors
/// As [`debian::root`].
pub fn root(cache: &Cache) -> Result<PathBuf> {
    debian::root(
        cache,
        &Set {
            name: "QEMU",
            suite: Suite::Stable,
            packages: PACKAGES.to_vec(),
            pins: PINS,
        },
    )
}

/// Gives a program that runs it on this machine, and has seen it run.
///
/// # Errors
/// As [`root`], or it does not start.
pub fn program(cache: &Cache) -> Result<PathBuf> {
    let root = root(cache)?;
    let folder = program::folder(cache, &root, NAME, STARTER)?;
    let program = folder.join(NAME);
    let said = process::output(Command::new(&program).arg("--version"))?;
    let version = version(&said).with_context(|| format!("this is no QEMU: {said}"))?;
    anyhow::ensure!(version >= FIRST, "QEMU is too old: {said}");
    Ok(program)
}

/// The QEMU that tests run: `$LUO_QEMU`, the machine's if it is new enough, or Debian's.
///
/// # Errors
/// As [`program()`], or the one that was named is too old.
pub fn find(cache: &Cache) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("LUO_QEMU").map(PathBuf::from) {
        anyhow::ensure!(
            is_new_enough(&named),
            "LUO_QEMU={} is no QEMU of {}.{} or newer",
            named.display(),
            FIRST.0,
            FIRST.1
        );
        return Ok(named);
    }
    let own = PathBuf::from(NAME);
    if is_new_enough(&own) {
        return Ok(own);
    }
    program(cache)
}

/// Whether a program is a QEMU that can take guests over an update.
fn is_new_enough(program: &Path) -> bool {
    let said = Command::new(program).arg("--version").output();
    let said = said.map(|output| output.stdout).unwrap_or_default();
    version(&String::from_utf8_lossy(&said)).is_some_and(|version| version >= FIRST)
}

/// The version in what `qemu-system-x86_64 --version` says.
fn version(said: &str) -> Option<(u32, u32)> {
    let number = said.strip_prefix("QEMU emulator version ")?;
    let mut parts = number.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qemu_that_is_too_old_is_known() {
        let debian = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright\n";
        assert_eq!(version(debian), Some((10, 0)));
        assert_eq!(version("QEMU emulator version 7.2.22"), Some((7, 2)));
        assert_eq!(version("bash 5.2"), None);
        assert!(!is_new_enough(Path::new("/nowhere/qemu")));
    }
}
