// SPDX-License-Identifier: MIT OR Apache-2.0
//! What our own Debian packages install: the list is that of `cargo deb`, in the
//! manifests of the crates.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::process;

/// A file of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its place in the root.
    pub place: String,
    /// Where it comes from.
    pub from: PathBuf,
    /// Its permissions.
    pub mode: u32,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    metadata: Option<Sections>,
}

#[derive(Deserialize)]
struct Sections {
    deb: Option<Deb>,
}

#[derive(Deserialize)]
struct Deb {
    assets: Vec<(String, String, String)>,
}

/// Where `cargo deb` expects programs.
const PROGRAMS: &str = "target/release/";

/// What the packages of `crates` install, their programs being in `programs`.
///
/// # Errors
/// A crate has no list, or a file of it is not there.
pub fn assets(repo: &Path, crates: &[&str], programs: &Path) -> Result<Vec<Asset>> {
    let metadata: Metadata = process::cargo_metadata(repo)?;
    let mut all = Vec::new();
    for name in crates {
        let package = metadata.packages.iter().find(|known| known.name == *name);
        let package = package.with_context(|| format!("there is no crate {name}"))?;
        let deb = package.metadata.as_ref().and_then(|of| of.deb.as_ref());
        let deb = deb.with_context(|| format!("{name} has no [package.metadata.deb]"))?;
        let folder = package.manifest_path.parent().unwrap_or(repo);
        for (from, to, mode) in &deb.assets {
            let from = match from.strip_prefix(PROGRAMS) {
                Some(program) => programs.join(program),
                None => folder.join(from),
            };
            let mode = u32::from_str_radix(mode, 8).with_context(|| mode.clone())?;
            for from in matching(&from)? {
                all.push(Asset {
                    place: place(&from, to),
                    from,
                    mode,
                });
            }
        }
    }
    Ok(all)
}

/// The files that a path means, whose last part may have one `*` in it.
fn matching(path: &Path) -> Result<Vec<PathBuf>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some((begin, end)) = name.split_once('*') else {
        return Ok(vec![path.to_owned()]);
    };
    let folder = path.parent().unwrap_or(path);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(begin) && name.ends_with(end) {
            found.push(entry.path());
        }
    }
    if found.is_empty() {
        bail!("nothing is {}", path.display());
    }
    found.sort();
    Ok(found)
}

/// A file goes into a folder, whose name ends in a slash, or gets a new name.
fn place(from: &Path, to: &str) -> String {
    match to.strip_suffix('/') {
        Some(folder) => {
            let name = from.file_name().unwrap_or_default().to_string_lossy();
            format!("{folder}/{name}")
        }
        None => to.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_have_what_a_machine_needs() {
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let assets = assets(repo, &["luod", "luoctl"], Path::new("/built")).unwrap();
        let at = |place: &str| assets.iter().find(|asset| asset.place == place);
        let luod = at("usr/sbin/luod").unwrap();
        assert_eq!(
            (luod.from.to_str(), luod.mode),
            (Some("/built/luod"), 0o755)
        );
        let unit = at("usr/lib/systemd/system/luod.service").unwrap();
        assert!(unit.from.ends_with("dist/systemd/luod.service") && unit.mode == 0o644);
        // One with a `*`, and one that gets a new name.
        assert!(at("usr/share/man/man1/luoctl-update.1").is_some());
        assert!(at("usr/share/bash-completion/completions/luoctl").is_some());
        let missing = assets
            .iter()
            .filter(|asset| !asset.from.starts_with("/built") && !asset.from.exists());
        assert_eq!(missing.count(), 0);
    }
}
