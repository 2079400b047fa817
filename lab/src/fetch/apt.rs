// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian packages that are downloaded and unpacked but not installed.
//!
//! The kernel's source and the Rust library's source come from a newer suite
//! than the machine's, and so do the programs of guests that run systemd. They
//! are fetched through a configuration of apt that is private to the cache, so
//! the machine's own stays as it is. The mirror is the one that the machine
//! uses already.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cache::{Cache, CacheLock, sha256_file, short};
use crate::process;
use crate::progress::{Step, Unit};

/// A suite of Debian that is asked through a private configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// New kernels and tools.
    Backports,
    /// Everything else.
    Stable,
    /// What the next stable one will have: services that are newer than any release.
    Unstable,
}

impl Suite {
    /// Its name in the archive.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Backports => "trixie-backports",
            Self::Stable => "trixie",
            Self::Unstable => "sid",
        }
    }
}

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A package in a fixed version with a fixed content.
#[derive(Clone, Copy, Debug)]
pub struct Pin {
    /// The package's name.
    pub package: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The SHA-256 of its `.deb`.
    pub sha256: &'static str,
}

/// A package that the archive offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The package's name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The SHA-256 of its `.deb`, from an index that apt has verified.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A downloaded and verified package.
#[derive(Clone, Debug)]
pub struct Deb {
    /// The package's name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The SHA-256 of its content.
    pub sha256: String,
    /// Where it is.
    pub path: PathBuf,
}

/// Which configuration of apt is asked.
#[derive(Debug)]
pub struct Apt {
    // Its lists and downloads are in the cache.
    _lock: CacheLock,
    options: Vec<String>,
    downloads: PathBuf,
    log: PathBuf,
}

impl Apt {
    /// The private configuration for a suite, with fresh lists.
    ///
    /// # Errors
    /// No mirror is configured on this machine, or it does not answer.
    pub fn of_suite(cache: &Cache, suite: Suite) -> Result<Self> {
        let lock = cache.lock("apt")?;
        let targets = process::output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(REPO_URI) $(ORIGIN)",
        ]))?;
        let mirror = pick_mirror(&targets).context(
            "apt knows no mirror of the main Debian archive: add one to /etc/apt/sources.list \
             (any line with `bookworm main` or `trixie main`) and run apt-get update",
        )?;
        let suite = suite.name();
        let dir = cache.path("apt").join(suite);
        fs::create_dir_all(dir.join("lists/partial"))?;
        fs::create_dir_all(dir.join("cache/archives/partial"))?;
        let sources = dir.join("sources.list");
        fs::write(
            &sources,
            format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"),
        )?;
        let options = [
            format!("Dir::Etc::sourcelist={}", sources.display()),
            "Dir::Etc::sourceparts=-".into(),
            format!("Dir::State::lists={}", dir.join("lists").display()),
            format!("Dir::Cache={}", dir.join("cache").display()),
            // As root, apt would become a user who cannot enter a home folder.
            "APT::Sandbox::User=root".into(),
            "Acquire::Languages=none".into(),
            "Acquire::Retries=3".into(),
        ];
        let apt = Self {
            _lock: lock,
            options: options
                .into_iter()
                .flat_map(|option| ["-o".to_owned(), option])
                .collect(),
            downloads: cache.path("downloads"),
            log: cache.log("apt-download"),
        };
        let mut step = Step::new(&format!("index of Debian's {suite}"));
        process::logged(
            apt.command("apt-get").arg("update"),
            &apt.log,
            &mut step,
            |step, _| step.tick(),
        )
        .context("Debian's mirror did not answer: check the network and try again")?;
        step.done();
        Ok(apt)
    }

    /// The machine's own configuration.
    ///
    /// # Errors
    /// The cache cannot be locked.
    pub fn machine(cache: &Cache) -> Result<Self> {
        let options = ["-o", "APT::Sandbox::User=root"]
            .map(str::to_owned)
            .to_vec();
        Ok(Self {
            _lock: cache.lock("apt")?,
            options,
            downloads: cache.path("downloads"),
            log: cache.log("apt-download"),
        })
    }

    /// Every version of a package that is on offer, best first.
    ///
    /// # Errors
    /// `apt-cache` does not run.
    pub fn offers(&self, package: &str) -> Result<Vec<Offer>> {
        self.offers_of(&[package])
    }

    /// The same of several packages: each question reads the whole index.
    ///
    /// # Errors
    /// As [`Self::offers`].
    pub fn offers_of(&self, packages: &[&str]) -> Result<Vec<Offer>> {
        let shown = self
            .command("apt-cache")
            .args(["show", "--all-versions"])
            .args(packages)
            .output()?;
        // An unknown package is an error to apt-cache and an empty list to us.
        Ok(parse_offers(&String::from_utf8_lossy(&shown.stdout)))
    }

    /// Names of packages that start with `prefix`.
    ///
    /// # Errors
    /// `apt-cache` does not run.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = process::output(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// What a package depends on, by name.
    ///
    /// # Errors
    /// `apt-cache` does not run or does not know the package.
    pub fn depends(&self, package: &str) -> Result<Vec<String>> {
        let listing = process::output(self.command("apt-cache").args(["depends", package]))?;
        Ok(listing
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .map(str::to_owned)
            .collect())
    }

    /// Downloads what was offered and verifies its checksum.
    ///
    /// # Errors
    /// The download fails or has another content.
    pub fn download(&self, offer: &Offer) -> Result<Deb> {
        let path = deb_path(&self.downloads, &offer.package, &offer.sha256);
        if !path.exists() {
            fs::create_dir_all(&self.downloads)?;
            let dir = tempfile::Builder::new()
                .prefix(".half-")
                .tempdir_in(&self.downloads)?;
            let title = format!("download {} {}", offer.package, offer.version);
            let mut step = Step::counting(&title, Unit::Bytes, Some(offer.size));
            let mut command = self.command("apt-get");
            command
                .arg("-o")
                .arg(format!("Dir::Cache={}", dir.path().display()));
            command
                .arg("download")
                .arg(format!("{}={}", offer.package, offer.version))
                .current_dir(dir.path());
            process::logged(&mut command, &self.log, &mut step, |step, _| {
                step.set(deb_bytes(dir.path()))
            })?;
            step.done();
            let deb =
                find_deb(dir.path()).context("apt-get download succeeded and left no .deb")?;
            let sha256 = sha256_file(&deb)?;
            if sha256 != offer.sha256 {
                bail!(
                    "{} {} has checksum {sha256}, and {} was expected: the mirror or a proxy delivers \
                     something else; try another mirror",
                    offer.package,
                    offer.version,
                    offer.sha256
                );
            }
            fs::rename(deb, &path)?;
        }
        let Offer {
            package,
            version,
            sha256,
            ..
        } = offer.clone();
        Ok(Deb {
            package,
            version,
            sha256,
            path,
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options);
        command
    }
}

impl Deb {
    /// A pinned package that was downloaded before.
    #[must_use]
    pub fn cached(cache: &Cache, pin: &Pin) -> Option<Self> {
        let path = deb_path(&cache.path("downloads"), pin.package, pin.sha256);
        path.exists().then(|| Self {
            package: pin.package.into(),
            version: pin.version.into(),
            sha256: pin.sha256.into(),
            path,
        })
    }

    /// A note of it, in a line.
    #[must_use]
    pub fn note(&self) -> String {
        format!(
            "{} {} {} {}",
            self.package,
            self.version,
            self.sha256,
            self.path.display()
        )
    }

    /// What a note tells of, if it is still there.
    #[must_use]
    pub fn noted(line: &str) -> Option<Self> {
        let mut words = line.trim_end().splitn(4, ' ').map(str::to_owned);
        let deb = Self {
            package: words.next()?,
            version: words.next()?,
            sha256: words.next()?,
            path: words.next()?.into(),
        };
        deb.path.exists().then_some(deb)
    }

    /// Checks the content once more, before it is used.
    ///
    /// # Errors
    /// The file has changed since it was downloaded.
    pub fn verify(&self) -> Result<()> {
        if sha256_file(&self.path)? != self.sha256 {
            bail!(
                "{} is damaged: remove it and try again",
                self.path.display()
            );
        }
        Ok(())
    }

    /// Unpacks the package below `dir`, without installing it.
    ///
    /// # Errors
    /// The file is damaged or `dpkg-deb` fails.
    pub fn unpack(&self, dir: &Path) -> Result<()> {
        self.verify()?;
        process::output(Command::new("dpkg-deb").arg("-x").arg(&self.path).arg(dir)).map(drop)
    }
}

fn deb_path(downloads: &Path, package: &str, sha256: &str) -> PathBuf {
    downloads.join(format!("{package}-{}.deb", short(sha256)))
}

fn deb_bytes(dir: &Path) -> u64 {
    let files = walkdir::WalkDir::new(dir).into_iter().flatten();
    let debs = files.filter(|file| file.file_name().to_string_lossy().contains(".deb"));
    debs.filter_map(|file| file.metadata().ok())
        .map(|data| data.len())
        .sum()
}

fn find_deb(dir: &Path) -> Option<PathBuf> {
    let files = walkdir::WalkDir::new(dir).into_iter().flatten();
    let mut debs = files.filter(|file| file.path().extension().is_some_and(|ext| ext == "deb"));
    debs.next().map(walkdir::DirEntry::into_path)
}

/// The main archive among lines of `URI ORIGIN`. The origin is unknown before
/// the first `apt-get update`, so it only breaks ties.
fn pick_mirror(targets: &str) -> Option<String> {
    let lines = targets.lines().filter_map(|line| {
        let (uri, origin) = line.split_once(' ').unwrap_or((line, ""));
        let main = uri.trim_end_matches('/').ends_with("/debian");
        main.then_some((origin != "Debian", uri))
    });
    lines
        .min_by_key(|(foreign, _)| *foreign)
        .map(|(_, uri)| uri.to_owned())
}

fn parse_offers(listing: &str) -> Vec<Offer> {
    let stanzas = listing.split("\n\n");
    stanzas
        .filter_map(|stanza| {
            let field = |name: &str| {
                let line = stanza
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                line.map(str::to_owned)
            };
            Some(Offer {
                package: field("Package")?,
                version: field("Version")?,
                sha256: field("SHA256")?,
                size: field("Size")?.parse().ok()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_archive_is_picked() {
        let targets = "http://a.example/node nodistro\nhttp://b.example/debian-security/ Debian\n\
                       http://c.example/debian/ Other\nhttp://d.example/debian/ Debian\n";
        assert_eq!(pick_mirror(targets).unwrap(), "http://d.example/debian/");
        assert_eq!(
            pick_mirror("http://c.example/debian \n").unwrap(),
            "http://c.example/debian"
        );
        assert_eq!(
            pick_mirror("http://b.example/debian-security/ Debian"),
            None
        );
    }

    #[test]
    fn a_note_tells_of_what_is_there() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let deb = Deb {
            package: "x".into(),
            version: "1:2-3".into(),
            sha256: "abc".into(),
            path: path.path().to_owned(),
        };
        assert_eq!(Deb::noted(&deb.note()).unwrap().version, "1:2-3");
        path.close().unwrap();
        assert!(Deb::noted(&deb.note()).is_none());
    }

    #[test]
    fn offers_are_read_whole() {
        let listing = "Package: x\nVersion: 1-2\nSize: 7\nSHA256: abc\n\nPackage: y\nVersion: 3\n";
        let offers = parse_offers(listing);
        assert_eq!(offers.len(), 1);
        assert_eq!((offers[0].version.as_str(), offers[0].size), ("1-2", 7));
    }
}
