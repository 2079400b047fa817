// SPDX-License-Identifier: MIT OR Apache-2.0
//! A folder with Debian packages unpacked in it, for guests that run systemd.
//!
//! The archive moves on, so versions are not pinned: which ones they were is noted in
//! the cache, where the archive is asked once, and the guest says which systemd it is.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::cache::{Cache, Key, write_whole};
use crate::fetch::apt::{Apt, Deb, Suite};
use crate::progress::Step;

/// systemd, and the libraries that its programs are linked with. One that is missing
/// here keeps the guest from booting, and says its name.
const PACKAGES: &[&str] = &[
    "libacl1",
    "libapparmor1",
    "libaudit1",
    "libblkid1",
    "libc6",
    "libcap-ng0",
    "libcap2",
    "libcrypt1",
    "libmount1",
    "libpam0g",
    "libpcre2-8-0",
    "libseccomp2",
    "libselinux1",
    "libssl3t64",
    "libsystemd-shared",
    "libzstd1",
    "mount",
    "systemd",
    "zlib1g",
];

/// Gives the folder, made of the packages of Debian's stable suite.
///
/// # Errors
/// A package is neither cached nor to be had, or cannot be unpacked.
pub fn root(cache: &Cache) -> Result<PathBuf> {
    let debs = packages(cache)?;
    let key = debs.iter().fold(Key::default(), |key, deb| {
        key.add(&deb.package, &deb.sha256)
    });
    cache.folder(&format!("roots/{}", key.short()), |dir| {
        let step = Step::new("unpack systemd for the guest");
        for deb in &debs {
            deb.unpack(dir)?;
        }
        step.done();
        Ok(())
    })
}

fn packages(cache: &Cache) -> Result<Vec<Deb>> {
    let suite = Suite::Stable;
    let key = Key::default().add(suite.name(), PACKAGES.join(" ")).short();
    let note = cache.path("downloads").join(format!("root-{key}"));
    let noted = fs::read_to_string(&note).unwrap_or_default();
    let noted: Vec<_> = noted.lines().filter_map(Deb::noted).collect();
    if noted.len() == PACKAGES.len() {
        return Ok(noted);
    }
    let apt = Apt::of_suite(cache, suite)?;
    let mut debs = Vec::new();
    for package in PACKAGES {
        let offers = apt.offers(package)?;
        let offer = offers
            .first()
            .with_context(|| format!("Debian's {} has no package {package}", suite.name()))?;
        debs.push(apt.download(offer)?);
    }
    let lines: Vec<_> = debs.iter().map(Deb::note).collect();
    write_whole(&note, lines.join("\n").as_bytes())?;
    Ok(debs)
}
