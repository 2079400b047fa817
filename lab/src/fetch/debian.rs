// SPDX-License-Identifier: MIT OR Apache-2.0
//! Folders with Debian packages unpacked in them, which the machine does not have installed.
//!
//! The archive moves on. What a test is about is pinned, and if the archive no longer
//! has it, the newest there is stands in for it, and that is said. All else comes in
//! whatever version there is. Which ones they were is noted in the cache, where the
//! archive is asked once.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::cache::{Cache, Key, write_whole};
use crate::fetch::apt::{Apt, Deb, Offer, Pin, Suite};
use crate::progress::Step;

/// Packages that make a root together.
#[derive(Clone, Debug)]
pub struct Set {
    /// What they are, in a word.
    pub name: &'static str,
    /// The suite that has them.
    pub suite: Suite,
    /// Their names.
    pub packages: Vec<&'static str>,
    /// Those of a fixed version.
    pub pins: &'static [Pin],
}

/// Gives the folder with a set unpacked in it.
///
/// # Errors
/// A package is neither cached nor to be had, or cannot be unpacked.
pub fn root(cache: &Cache, set: &Set) -> Result<PathBuf> {
    let debs = packages(cache, set)?;
    let key = debs.iter().fold(Key::default(), |key, deb| {
        key.add(&deb.package, &deb.sha256)
    });
    cache.folder(&format!("roots/{}", key.short()), |dir| {
        let step = Step::new(&format!("unpack Debian's {}", set.name));
        for deb in &debs {
            deb.unpack(dir)?;
        }
        step.done();
        Ok(())
    })
}

fn packages(cache: &Cache, set: &Set) -> Result<Vec<Deb>> {
    let (suite, pins, names) = (set.suite, set.pins, &set.packages);
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
    let all = apt.offers_of(names)?;
    let mut debs = Vec::new();
    for &package in names {
        let offers = all.iter().filter(|offer| offer.package == package);
        let offers: Vec<_> = offers.cloned().collect();
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
        let pin = &Pin {
            package: "qemu",
            version: "1:10.0-1",
            sha256: "b",
        };
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
