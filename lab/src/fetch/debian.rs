// SPDX-License-Identifier: MIT OR Apache-2.0
//! Folders with Debian packages unpacked in them, for guests that run systemd.
//!
//! The archive moves on. What a scenario is about is pinned, and if the archive no longer
//! has it, the newest there is stands in for it, and that is said. All else comes in
//! whatever version there is. Which ones they were is noted in the cache, where the
//! archive is asked once, and the guest says which systemd it is.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::cache::{Cache, Key, write_whole};
use crate::fetch::apt::{Apt, Deb, Offer, Pin, Suite};
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

/// A release of systemd, by the suite that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// That of Debian's stable suite, which knows nothing of live updates.
    Stable,
    /// One that keeps descriptor stores over a kexec: 261 and newer do.
    KeepsStores,
}

impl Release {
    const fn suite(self) -> Suite {
        match self {
            Self::Stable => Suite::Stable,
            Self::KeepsStores => Suite::Unstable,
        }
    }

    /// Packages beside the common ones.
    const fn further(self) -> &'static [&'static str] {
        match self {
            // logind, whose locks keep others from shutting down, is asked over the bus.
            Self::Stable => &[
                "coreutils",
                "dbus",
                "dbus-daemon",
                "dbus-system-bus-common",
                "libdbus-1-3",
                "libexpat1",
                "libsystemd0",
            ],
            // libmount is linked with it there.
            Self::KeepsStores => &["libsystemd0"],
        }
    }

    /// The packages of a fixed version.
    const fn pins(self) -> &'static [Pin] {
        match self {
            Self::Stable => &[],
            Self::KeepsStores => &[
                Pin {
                    package: "libsystemd-shared",
                    version: "262.1-1",
                    sha256: "0fdbfa3a91fa6b2279468d3cb9d0012f7c637616acaa8babeaa123470e4a2f4a",
                },
                Pin {
                    package: "systemd",
                    version: "262.1-1",
                    sha256: "17cfb580aa1ad0a06bb68e7c284d06cd4ee856269a0c3e4f2a89205c3f9a1608",
                },
            ],
        }
    }
}

/// Gives the folder, made of the packages of the suite that has this release.
///
/// # Errors
/// A package is neither cached nor to be had, or cannot be unpacked.
pub fn root(cache: &Cache, release: Release) -> Result<PathBuf> {
    let debs = packages(cache, release)?;
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

fn packages(cache: &Cache, release: Release) -> Result<Vec<Deb>> {
    let (suite, pins) = (release.suite(), release.pins());
    let names: Vec<_> = PACKAGES.iter().chain(release.further()).copied().collect();
    let key = Key::default().add(suite.name(), names.join(" "));
    let key = pins
        .iter()
        .fold(key, |key, pin| key.add(pin.package, pin.sha256));
    let note = cache
        .path("downloads")
        .join(format!("root-{}", key.short()));
    let noted = fs::read_to_string(&note).unwrap_or_default();
    let noted: Vec<_> = noted.lines().filter_map(Deb::noted).collect();
    if noted.len() == names.len() {
        return Ok(noted);
    }
    let apt = Apt::of_suite(cache, suite)?;
    let mut debs = Vec::new();
    for package in names {
        let offers = apt.offers(package)?;
        let pin = pins.iter().find(|pin| pin.package == package);
        if let Some(deb) = pin.and_then(|pin| Deb::cached(cache, pin)) {
            debs.push(deb);
            continue;
        }
        let offer = choose(&offers, pin)
            .with_context(|| format!("Debian's {} has no package {package}", suite.name()))?;
        if let Some(pin) = pin.filter(|pin| pin.sha256 != offer.sha256) {
            eprintln!(
                "note: Debian's {} no longer has {} {}; using {}",
                suite.name(),
                pin.package,
                pin.version,
                offer.version
            );
        }
        debs.push(apt.download(offer)?);
    }
    let lines: Vec<_> = debs.iter().map(Deb::note).collect();
    write_whole(&note, lines.join("\n").as_bytes())?;
    Ok(debs)
}

/// The pinned package if it is on offer, else the best.
fn choose<'a>(offers: &'a [Offer], pin: Option<&Pin>) -> Option<&'a Offer> {
    let pinned = |pin: &Pin| offers.iter().find(|offer| offer.sha256 == pin.sha256);
    pin.and_then(pinned).or_else(|| offers.first())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pinned_is_preferred_and_the_newest_stands_in() {
        let pin = &Release::KeepsStores.pins()[0];
        let offer = |version: &str, sha256: &str| Offer {
            package: pin.package.into(),
            version: version.into(),
            sha256: sha256.into(),
            size: 1,
        };
        let offers = [offer("999-1", "a"), offer(pin.version, pin.sha256)];
        let version = |offers, pin| choose(offers, pin).map(|offer: &Offer| offer.version.clone());
        assert_eq!(version(&offers, Some(pin)).as_deref(), Some(pin.version));
        assert_eq!(version(&offers[..1], Some(pin)).as_deref(), Some("999-1"));
        assert_eq!(version(&offers, None).as_deref(), Some("999-1"));
        assert_eq!(version(&[], Some(pin)), None);
    }
}
