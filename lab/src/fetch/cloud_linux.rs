// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Linux of guests that machines of the tests have: the kernel that Debian makes for clouds, as it is.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::cache::{Cache, Key, write_whole};
use crate::fetch::apt::{Apt, Deb, Pin, Suite};
use crate::progress::Step;

const PIN: Pin = Pin {
    package: "linux-image-6.12.117+deb13-cloud-amd64",
    version: "6.12.117-1",
    sha256: "e9893e5295d0549b8852611f12a4b8b5f6cc4b8128dcc2086b9847793b904ab7",
};

/// The package that needs the newest one, which stands in when the archive no longer has the pinned one.
const NEWEST: &str = "linux-image-cloud-amd64";

/// What the names of such packages begin with.
const PREFIX: &str = "linux-image-";

/// Gives the folder with the package unpacked in it.
///
/// # Errors
/// It is neither cached nor to be had, or cannot be unpacked.
pub fn root(cache: &Cache) -> Result<PathBuf> {
    let deb = package(cache)?;
    let key = Key::default().add(&deb.package, &deb.sha256);
    cache.folder(&format!("roots/{}", key.short()), |dir| {
        let step = Step::new("unpack Debian's kernel for clouds");
        deb.unpack(dir)?;
        step.done();
        Ok(())
    })
}

fn package(cache: &Cache) -> Result<Deb> {
    if let Some(deb) = Deb::cached(cache, &PIN) {
        return Ok(deb);
    }
    // What stands in is remembered, so that the archive is asked once.
    let key = Key::default().add(PIN.package, PIN.sha256);
    let note = cache
        .path("downloads")
        .join(format!("instead-of-{}", key.short()));
    let noted = fs::read_to_string(&note).ok();
    if let Some(deb) = noted.and_then(|line| Deb::noted(&line)) {
        return Ok(deb);
    }
    let apt = Apt::of_suite(cache, Suite::Stable)?;
    let offers = apt.offers(PIN.package)?;
    if let Some(offer) = offers.iter().find(|offer| offer.sha256 == PIN.sha256) {
        return apt.download(offer);
    }
    let needed = apt.depends(NEWEST)?;
    let name = needed.iter().find(|name| name.starts_with(PREFIX));
    let name = name.with_context(|| format!("Debian's {NEWEST} needs no kernel"))?;
    let offers = apt.offers(name)?;
    let offer = offers.first().context("Debian has no kernel for clouds")?;
    eprintln!(
        "note: Debian no longer has {} {}; using {} {}",
        PIN.package, PIN.version, offer.package, offer.version
    );
    let deb = apt.download(offer)?;
    write_whole(&note, deb.note().as_bytes())?;
    Ok(deb)
}
