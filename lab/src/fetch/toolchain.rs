// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a kernel with Rust needs beyond the machine's packages: the source of
//! the Rust library in exactly the compiler's version, bindgen and libclang.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::build::variant::Compiler;
use crate::cache::{Cache, short};
use crate::fetch::apt::{Apt, Deb, Offer, Pin, Suite};
use crate::process;
use crate::progress::{Step, Unit};

const RUST_SRC: Pin = Pin {
    package: "rust-src",
    version: "1.95.0+dfsg1-2~bpo13+1",
    sha256: "7b76db5b880a77f9e52975d2baa6209d2f76d2c9c2789515c3088cb960e2c83b",
};
const BINDGEN: &str = "0.72.1";
/// Of the package `libclang1-19`.
const LIBCLANG: &str = "/usr/lib/llvm-19/lib";

/// The release of Clang for kernels that take it: rustc's own LLVM is of a newer one, and
/// what the two have to agree on has not changed since.
pub const LLVM: &str = "19";

/// The tools that compile a kernel.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// The compiler's own words, part of an image's key.
    pub rustc_version: String,
    /// As that, of the compiler of C.
    pub gcc_version: String,
    /// As that, of the assembler and the linker.
    binutils_versions: String,
    /// Environment of every make.
    environment: Vec<(&'static str, OsString)>,
    bindgen: PathBuf,
}

impl Toolchain {
    /// Finds or fetches everything.
    ///
    /// # Errors
    /// Something can be neither found nor fetched.
    pub fn prepare(cache: &Cache) -> Result<Self> {
        let rustc_version = process::output(Command::new("rustc").arg("--version"))
            .context("install Rust 1.85 or newer")?
            .trim()
            .to_owned();
        let number = version_number(&rustc_version).with_context(|| {
            format!("`rustc --version` says `{rustc_version}`, which names no version")
        })?;
        let mut own = Self {
            rustc_version: rustc_version.clone(),
            gcc_version: versions(&["gcc"])?,
            binutils_versions: versions(&["as", "ld"])?,
            environment: Vec::new(),
            bindgen: bindgen(cache)?,
        };
        let beside = beside_compiler()?;
        let library = match beside {
            None => library_package(cache, number)?,
            found => found,
        };
        match library {
            Some(library) => own.environment = vec![("RUST_LIB_SRC", library.into())],
            None => own.use_of_distribution(cache, number)?,
        }
        Ok(own)
    }

    /// Names of tools, for keys.
    #[cfg(test)]
    pub(crate) fn of_tests() -> Self {
        Self {
            rustc_version: "rustc 1".to_owned(),
            gcc_version: "gcc 1".to_owned(),
            binutils_versions: "as 1, ld 1".to_owned(),
            environment: Vec::new(),
            bindgen: PathBuf::new(),
        }
    }

    /// bindgen's version, part of an image's key.
    #[must_use]
    pub fn bindgen_version(&self) -> &'static str {
        BINDGEN
    }

    /// What compiles and links C says of itself, part of an image's key: a new release of it
    /// can make another image of the same sources.
    ///
    /// # Errors
    /// Clang is asked for and is not installed.
    pub fn versions_for_c(&self, compiler: Compiler) -> Result<String> {
        match compiler {
            Compiler::Gcc => Ok(format!("{}, {}", self.gcc_version, self.binutils_versions)),
            Compiler::Clang => {
                let tools = ["clang", "ld.lld", "llvm-nm"].map(|tool| format!("{tool}-{LLVM}"));
                versions(&tools.each_ref().map(String::as_str))
            }
        }
    }

    /// Takes a compiler and its library from the distribution, neither installed.
    fn use_of_distribution(&mut self, cache: &Cache, number: &str) -> Result<()> {
        let apt = Apt::machine(cache)?;
        let Some(source) = apt.offers("rust-web-src")?.into_iter().next() else {
            bail!(
                "no source of the Rust library {number} is to be had: it is needed to build `core` for the kernel. \
             Install it with `rustup component add rust-src`, or use a rustc that Debian has the package rust-src for"
            );
        };
        let other = upstream(&source.version).to_owned();
        eprintln!(
            "note: Debian has no rust-src for rustc {number}; the kernel is built with Debian's rustc {other}"
        );
        let short_number: Vec<_> = other.split('.').take(2).collect();
        let runtime = format!("libstd-rust-web-{}", short_number.join("."));
        let mut packages = vec![
            "rustc-web".to_owned(),
            "libstd-rust-web-dev".into(),
            runtime.clone(),
        ];
        packages.extend(
            apt.depends(&runtime)?
                .into_iter()
                .filter(|name| name.to_lowercase().starts_with("libllvm")),
        );
        let root = cache.folder(
            &format!("tools/rustc-web-{}", short(&source.sha256)),
            |dir| {
                apt.download(&source)?.unpack(dir)?;
                for package in &packages {
                    let offers = apt.offers(package)?;
                    let offer = offers
                        .first()
                        .with_context(|| format!("Debian has no package {package}"))?;
                    apt.download(offer)?.unpack(dir)?;
                }
                Ok(())
            },
        )?;
        let compiler = root.join("usr/bin/rustc");
        let libraries = root.join("usr/lib/x86_64-linux-gnu");
        let version = process::output(
            Command::new(&compiler)
                .arg("--version")
                .env("LD_LIBRARY_PATH", &libraries),
        )
        .context("Debian's rustc was unpacked and does not run: use another rustc")?;
        version.trim().clone_into(&mut self.rustc_version);
        self.environment = vec![
            (
                "RUST_LIB_SRC",
                root.join(format!("usr/src/rustc-{other}/library")).into(),
            ),
            ("RUSTC", compiler.clone().into()),
            ("HOSTRUSTC", compiler.into()),
            ("LD_LIBRARY_PATH", libraries.into()),
        ];
        Ok(())
    }

    /// Makes a command see these tools and nothing of the caller's build.
    pub fn apply(&self, command: &mut Command) {
        // Cargo and an outer make leave these behind; a kernel built from
        // within them would differ from one built by hand.
        for name in [
            "LD_LIBRARY_PATH",
            "MAKEFLAGS",
            "MFLAGS",
            "RUSTFLAGS",
            "RUSTC",
            "CARGO_ENCODED_RUSTFLAGS",
        ] {
            command.env_remove(name);
        }
        let mut path = vec![self.bindgen.clone()];
        path.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        if let Ok(path) = std::env::join_paths(path) {
            command.env("PATH", path);
        }
        command.env("LIBCLANG_PATH", LIBCLANG);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
    }
}

/// What each of these programs says first when it is asked for its version.
fn versions(programs: &[&str]) -> Result<String> {
    let mut all = Vec::new();
    for program in programs {
        let said = process::output(Command::new(program).arg("--version"))?;
        all.push(said.lines().next().unwrap_or_default().to_owned());
    }
    Ok(all.join(", "))
}

/// `rust-src` as rustup installs it, if it is there.
fn beside_compiler() -> Result<Option<PathBuf>> {
    let sysroot = process::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let library = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
    Ok(library.join("core/src/lib.rs").exists().then_some(library))
}

/// The library's source from Debian, if it has the compiler's version.
fn library_package(cache: &Cache, number: &str) -> Result<Option<PathBuf>> {
    let deb = match Deb::cached(cache, &RUST_SRC).filter(|_| upstream(RUST_SRC.version) == number) {
        Some(deb) => deb,
        None => match fetch_library(cache, number)? {
            Some(deb) => deb,
            None => return Ok(None),
        },
    };
    let root = cache.folder(&format!("tools/rust-src-{}", short(&deb.sha256)), |dir| {
        let step = Step::new(&format!("unpack {} {}", deb.package, deb.version));
        deb.unpack(dir)?;
        step.done();
        Ok(())
    })?;
    let library = root.join(format!("usr/src/rustc-{number}/library"));
    if !library.join("core/src/lib.rs").exists() {
        bail!(
            "{} {} has no {}: run `cargo xtask kernel clean --all`",
            deb.package,
            deb.version,
            library.display()
        );
    }
    Ok(Some(library))
}

fn fetch_library(cache: &Cache, number: &str) -> Result<Option<Deb>> {
    // An unpacked library stays usable when the archive has moved on.
    for apt in [
        Apt::of_suite(cache, Suite::Backports)?,
        Apt::machine(cache)?,
    ] {
        for package in ["rust-src", "rust-web-src"] {
            let offers = apt.offers(package)?;
            let Some(offer) = choose(&offers, number) else {
                continue;
            };
            if number == upstream(RUST_SRC.version) && offer.sha256 != RUST_SRC.sha256 {
                eprintln!(
                    "note: Debian no longer has {} {}; using {} {}",
                    RUST_SRC.package, RUST_SRC.version, offer.package, offer.version
                );
            }
            return apt.download(offer).map(Some);
        }
    }
    Ok(None)
}

/// The pinned package, else the best of the same upstream version.
fn choose<'a>(offers: &'a [Offer], number: &str) -> Option<&'a Offer> {
    let pinned = offers
        .iter()
        .find(|offer| offer.sha256 == RUST_SRC.sha256 && upstream(&offer.version) == number);
    pinned.or_else(|| {
        offers
            .iter()
            .find(|offer| upstream(&offer.version) == number)
    })
}

/// The folder with bindgen.
fn bindgen(cache: &Cache) -> Result<PathBuf> {
    cargo_tool(cache, "bindgen", "bindgen-cli", BINDGEN)
}

/// The folder with a program of the registry, which is compiled on first use.
///
/// # Errors
/// It cannot be fetched or compiled.
pub fn cargo_tool(cache: &Cache, name: &str, package: &str, version: &str) -> Result<PathBuf> {
    let root = cache.folder(&format!("tools/{name}-{version}"), |dir| {
        let title = format!("compile {name} {version}");
        let mut step = Step::counting(&title, Unit::Things("crates"), None);
        let mut command = Command::new("cargo");
        command
            .args(["install", "--locked", package, "--version", version])
            .arg("--root")
            .arg(dir);
        command.env("CARGO_TARGET_DIR", dir.join("target"));
        process::cargo(&mut command, &cache.log(name), &mut step)?;
        std::fs::remove_dir_all(dir.join("target"))?;
        step.done();
        Ok(())
    })?;
    Ok(root.join("bin"))
}

/// `1.95.0` out of `rustc 1.95.0 (…)`.
fn version_number(words: &str) -> Option<&str> {
    words
        .split(' ')
        .nth(1)?
        .split('-')
        .next()
        .filter(|number| !number.is_empty())
}

/// Debian's version without what Debian added.
fn upstream(version: &str) -> &str {
    version.split(['+', '-', '~']).next().unwrap_or(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(version: &str, sha256: &str) -> Offer {
        Offer {
            package: "rust-src".into(),
            version: version.into(),
            sha256: sha256.into(),
            size: 1,
        }
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(
            version_number("rustc 1.95.0 (59807616e 2026-04-14)"),
            Some("1.95.0")
        );
        assert_eq!(version_number("rustc 1.97.0-nightly (x)"), Some("1.97.0"));
        assert_eq!(version_number("what"), None);
        assert_eq!(upstream("1.95.0+dfsg1-2~bpo13+1"), "1.95.0");
    }

    #[test]
    fn the_pin_is_preferred_then_the_same_upstream() {
        let offers = [
            offer("1.96.0-1", "a"),
            offer("1.95.0-9", "b"),
            offer(RUST_SRC.version, RUST_SRC.sha256),
        ];
        assert_eq!(choose(&offers, "1.95.0").unwrap().sha256, RUST_SRC.sha256);
        assert_eq!(choose(&offers[..2], "1.95.0").unwrap().sha256, "b");
        assert_eq!(choose(&offers, "1.96.0").unwrap().sha256, "a");
        assert!(choose(&offers, "1.94.0").is_none());
    }
}
