// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's source as Debian has it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::cache::{Cache, short, write_whole};
use crate::fetch::apt::{Apt, Deb, Pin, Suite};
use crate::process;
use crate::progress::{Step, Unit};

const LINUX: Pin = Pin {
    package: "linux-source-7.3",
    version: "7.3.4-1~bpo13+1",
    sha256: "703e369ddd4cce971452f5a593ee55df3a5c10c83caf0fa0df039633ed181ee3",
};
/// What stands in for the pinned package when the archive has moved on.
const SUCCESSORS: &str = "linux-source-7.";
/// How many files the source has, roughly; for the progress bar.
const SOURCE_FILES: u64 = 95_000;

/// The folder with the unpacked source, which is unpacked where needed.
///
/// # Errors
/// The package is damaged, or a tool fails.
pub fn unpacked(cache: &Cache, deb: &Deb) -> Result<PathBuf> {
    cache.folder(&format!("src/linux-{}", short(&deb.sha256)), |dir| {
        let mut step = Step::counting(
            &format!("unpack {}", deb.package),
            Unit::Things("files"),
            Some(SOURCE_FILES),
        );
        unpack_tarball(deb, dir, cache, &mut step)?;
        step.done();
        Ok(())
    })
}

fn unpack_tarball(deb: &Deb, dir: &Path, cache: &Cache, step: &mut Step) -> Result<()> {
    deb.verify()?;
    let tarball = format!("./usr/src/{}.tar.xz", deb.package);
    let mut files = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(&deb.path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run dpkg-deb")?;
    let mut inner = Command::new("tar")
        .args(["-xO", &tarball])
        .stdin(files.stdout.take().context("dpkg-deb gave no output")?)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run tar")?;
    let temporary = dir.join(".source.tar.xz");
    let mut file = fs::File::create(&temporary)?;
    let mut stream = inner.stdout.take().context("tar gave no output")?;
    std::io::copy(&mut stream, &mut file)?;
    let (files, inner) = (files.wait()?, inner.wait()?);
    if !files.success() || !inner.success() {
        bail!(
            "{} cannot be unpacked: run `cargo xtask kernel clean --all` to fetch it again",
            deb.path.display()
        );
    }
    let mut count = 0;
    let mut unpack = Command::new("tar");
    unpack
        .arg("-xJvf")
        .arg(&temporary)
        .args(["--strip-components=1", "-C"])
        .arg(dir);
    process::logged(&mut unpack, &cache.log("unpack"), step, |step, line| {
        count += u64::from(line.is_some());
        step.set(count);
    })?;
    fs::remove_file(temporary)?;
    Ok(())
}

/// The pinned package, or what the archive has in its place.
///
/// # Errors
/// It is neither cached nor to be had.
pub fn package(cache: &Cache) -> Result<Deb> {
    if let Some(deb) = Deb::cached(cache, &LINUX) {
        return Ok(deb);
    }
    // A stand-in is remembered, so that the archive is asked once.
    let note = cache
        .path("downloads")
        .join(format!("instead-of-{}", short(LINUX.sha256)));
    if let Some(deb) = remembered(&note) {
        return Ok(deb);
    }
    let apt = Apt::of_suite(cache, Suite::Backports)?;
    let pinned = apt
        .offers(LINUX.package)?
        .into_iter()
        .find(|offer| offer.sha256 == LINUX.sha256);
    if let Some(offer) = pinned {
        return apt.download(&offer);
    }
    let mut names = apt.names(SUCCESSORS)?;
    names.sort_by_key(|name| minor(name));
    for name in names.iter().rev().filter(|name| minor(name).is_some()) {
        if let Some(offer) = apt.offers(name)?.first() {
            eprintln!(
                "note: Debian no longer has {} {}; using {} {}. A patch that does not apply to it is an error below",
                LINUX.package, LINUX.version, offer.package, offer.version
            );
            let deb = apt.download(offer)?;
            write_whole(&note, deb.note().as_bytes())?;
            return Ok(deb);
        }
    }
    bail!(
        "Debian has no package {SUCCESSORS}*: put {} {} into {}",
        LINUX.package,
        LINUX.version,
        downloads_hint(cache)
    )
}

fn downloads_hint(cache: &Cache) -> String {
    cache
        .path("downloads")
        .join(format!("{}-{}.deb", LINUX.package, short(LINUX.sha256)))
        .display()
        .to_string()
}

fn remembered(note: &Path) -> Option<Deb> {
    Deb::noted(&fs::read_to_string(note).ok()?)
}

/// The `y` of `linux-source-7.y`.
fn minor(name: &str) -> Option<u32> {
    name.strip_prefix(SUCCESSORS)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successors_are_ordered_by_number() {
        let mut names = ["linux-source-7.9", "linux-source-7.10", "linux-source-7.x"];
        names.sort_by_key(|name| minor(name));
        assert_eq!(
            names,
            ["linux-source-7.x", "linux-source-7.9", "linux-source-7.10"]
        );
    }
}
