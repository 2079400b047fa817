// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds kernel images and keeps them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};

use crate::build::kconfig;
use crate::build::make::Make;
use crate::build::objtool;
use crate::build::overlay;
use crate::build::panics;
use crate::build::source::Source;
use crate::build::variant::{Compiler, VARIANTS, Variant};
use crate::cache::{Cache, Key, forget_oldest_of};
use crate::fetch::prereq;
use crate::fetch::toolchain::Toolchain;

/// How many images of a variant are kept, each of some ten megabytes: neither a change of
/// branch nor another checkout should rebuild one, and a disk should not fill.
const KEPT: usize = 12;

/// What a kernel is made from, complete but not yet made.
#[derive(Debug)]
pub struct Kernels<'a> {
    cache: &'a Cache,
    repo: &'a Path,
    tools: &'a Toolchain,
    source: &'a Source,
}

/// Images by variant.
pub type Images = BTreeMap<&'static str, PathBuf>;

impl<'a> Kernels<'a> {
    /// Nothing is done yet.
    #[must_use]
    pub fn new(cache: &'a Cache, repo: &'a Path, tools: &'a Toolchain, source: &'a Source) -> Self {
        Self {
            cache,
            repo,
            tools,
            source,
        }
    }

    /// Gives the images of `variants`, building those that are not there.
    ///
    /// # Errors
    /// A variant cannot be configured or built.
    pub fn images(&self, variants: &[&'static Variant]) -> Result<Images> {
        let mut images = Images::new();
        // In the table's order, which flips the fewest options.
        for variant in VARIANTS.iter().filter(|variant| variants.contains(variant)) {
            let folder = self
                .image(variant)
                .with_context(|| format!("kernel variant `{}`", variant.name))?;
            images.insert(variant.name, folder.join("bzImage"));
        }
        Ok(images)
    }

    /// The image's name in the cache, which is made of what it is compiled from. Where
    /// the checkout is does not matter.
    fn name(&self, variant: &Variant, config: &str, for_c: &str) -> String {
        let key = self.key(variant, config, for_c).short();
        format!("images/{}-{key}", variant.name)
    }

    fn image(&self, variant: &Variant) -> Result<PathBuf> {
        let config = self.config(variant)?;
        if variant.setup.compiler() == Compiler::Clang {
            prereq::ensure_clang(self.cache)?;
        }
        let for_c = self.tools.versions_for_c(variant.setup.compiler())?;
        let name = self.name(variant, &config, &for_c);
        let folder = self.cache.folder(&name, |dir| {
            let laid = self.source.lay(self.cache)?;
            let make = Make {
                cache: self.cache,
                tools: self.tools,
                compiler: variant.setup.compiler(),
                source: laid.root.clone(),
                build: self.cache.path(variant.setup.build_folder()),
            };
            configure(&make, variant, &config)?;
            compile(&make, variant)?;
            if variant.rust {
                panics::check(&make.build)?;
                objtool::check(&make.build)?;
            }
            for (file, from) in [
                ("bzImage", "arch/x86/boot/bzImage"),
                ("System.map", "System.map"),
                ("config", ".config"),
            ] {
                fs::copy(make.build.join(from), dir.join(file))
                    .with_context(|| format!("the build left no {from}"))?;
            }
            for from in variant.all_modules() {
                let file = Path::new(from)
                    .file_name()
                    .context("a module has no name")?;
                fs::copy(make.build.join(from), dir.join(file))
                    .with_context(|| format!("the build left no {from}"))?;
            }
            Ok(())
        })?;
        // The folder's time is that of its last use, for the clean-up.
        fs::File::open(&folder)?.set_modified(SystemTime::now())?;
        forget_old(&self.cache.path("images"), variant)?;
        Ok(folder)
    }

    /// The fragments and the variant's own options as one text.
    fn config(&self, variant: &Variant) -> Result<String> {
        let mut config = String::new();
        let forge = overlay::has_forge(&self.source.overlay);
        for name in variant.setup.fragments(forge) {
            let path = self.repo.join("kernel/config").join(name);
            config += &fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
        }
        Ok(config + &variant.options())
    }

    fn key(&self, variant: &Variant, config: &str, for_c: &str) -> Key {
        // Comments in fragments change nothing, so symbols are what counts.
        let symbols = kconfig::parse(config);
        let key = symbols
            .iter()
            .fold(self.source.key(), |key, (symbol, value)| {
                key.add(symbol, value)
            });
        let key = key.add("localversion", variant.local_version());
        // What each image has to have passed. Whoever makes a check stricter counts on.
        let key = key.add("checks", "2");
        let key = key
            .add("for C", for_c)
            .add("rustc", &self.tools.rustc_version)
            .add("bindgen", self.tools.bindgen_version());
        overlay::key(&self.source.overlay, variant.rust, key)
    }
}

fn configure(make: &Make<'_>, variant: &Variant, config: &str) -> Result<()> {
    fs::create_dir_all(&make.build)?;
    let fragment = make.build.join(".luo-fragment");
    fs::write(&fragment, config)?;
    let mut command = make.command();
    command
        .arg(format!("KCONFIG_ALLCONFIG={}", fragment.display()))
        .arg("allnoconfig");
    make.run(
        &format!("configure {}", variant.name),
        "kernel-configure",
        &mut command,
    )?;

    let granted = kconfig::parse(&fs::read_to_string(make.build.join(".config"))?);
    let refused = kconfig::refused(&kconfig::parse(config), &granted);
    if refused.is_empty() {
        return Ok(());
    }
    let refuses = |symbol: &str| {
        refused
            .iter()
            .any(|line| line.starts_with(&format!("CONFIG_{symbol}=")))
    };
    let remedy = if refuses("RUST") {
        let mut command = make.command();
        // It fails by design here; what it prints is the remedy.
        let (_, said) = crate::process::to_log(
            command.arg("rustavailable"),
            &make.cache.log("rustavailable"),
            |_| {},
        )?;
        format!(
            "The tool chain is not complete enough for CONFIG_RUST. `make rustavailable` says:\n{}",
            said.join("\n")
        )
    } else if refuses("LIVEUPDATE_RUST") {
        "The tree has no Rust orchestrator: kernel/patches must add the symbol LIVEUPDATE_RUST to \
         kernel/liveupdate/Kconfig, and what it depends on must be on"
            .to_owned()
    } else {
        "Either a name is not one of this kernel's, or what it depends on is off: look it up in the tree's \
         Kconfig files and change kernel/config"
            .to_owned()
    };
    bail!(
        "Kconfig did not honour these lines of kernel/config:\n  {}\n{remedy}",
        refused.join("\n  ")
    )
}

fn compile(make: &Make<'_>, variant: &Variant) -> Result<()> {
    let mut command = make.command();
    command
        .arg(format!("LOCALVERSION={}", variant.local_version()))
        .arg("bzImage");
    if variant.all_modules().next().is_some() {
        command.arg("modules");
    }
    make.run_counted(
        &format!("compile kernel {}", variant.name),
        &format!("kernel-{}", variant.name),
        &mut command,
    )?;
    let release = fs::read_to_string(make.build.join("include/config/kernel.release"))?;
    if !variant.owns_release(release.trim()) {
        bail!(
            "the kernel calls itself {} and not …{}",
            release.trim(),
            variant.local_version()
        );
    }
    Ok(())
}

fn forget_old(images: &Path, variant: &Variant) -> Result<()> {
    // `rust-next-…` also starts with `rust-`; a key has no dash.
    forget_oldest_of(images, KEPT, |name| {
        name.rsplit_once('-')
            .is_some_and(|(of, _)| of == variant.name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::apt::Deb;

    /// A checkout with all that a kernel is made of, in a folder of its own.
    fn checkout(folder: &Path, engine: &str) {
        for (path, text) in [
            ("kernel/config/base.config", "# A comment.\nCONFIG_A=y\n"),
            ("kernel/config/rust.config", "CONFIG_RUST=y\n"),
            ("kernel/config/systemd.config", "CONFIG_CGROUPS=y\n"),
            ("kernel/config/test.config", "CONFIG_TEST=y\n"),
            ("kernel/config/kvm.config", "CONFIG_KVM=m\n"),
            ("kernel/config/debug.config", "CONFIG_CHECK=y\n"),
            ("kernel/config/kasan.config", "CONFIG_KASAN=y\n"),
            ("kernel/overlay/lib/x.c", "x"),
            ("kernel/patches/0001-x.patch", "patch"),
            ("crates/luo-core/src/lib.rs", engine),
        ] {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn checkouts_of_the_same_content_share_images() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache"));
        let named = |checkout: &str, for_c: &str| {
            let repo = dir.path().join(checkout);
            let deb = Deb {
                package: "linux".into(),
                version: "1".into(),
                sha256: "abc".into(),
                path: dir.path().join("linux.deb"),
            };
            let (tools, source) = (Toolchain::of_tests(), Source::of(deb, &repo).unwrap());
            let kernels = Kernels::new(&cache, &repo, &tools, &source);
            let name = |variant| kernels.name(variant, &kernels.config(variant).unwrap(), for_c);
            VARIANTS.iter().map(name).collect::<Vec<_>>()
        };
        let names = |checkout: &str| named(checkout, "gcc 1, as 1, ld 1");
        for (name, engine) in [("one", "1"), ("there/two", "1"), ("three", "3")] {
            checkout(&dir.path().join(name), engine);
        }
        assert_eq!(names("one"), names("there/two"));
        let (first, other) = (names("one"), names("three"));
        for (variant, (first, other)) in VARIANTS.iter().zip(first.iter().zip(&other)) {
            // The engine is no part of a kernel with the orchestrator in C.
            assert_eq!(first == other, !variant.rust, "{}", variant.name);
        }
        // A new linker makes another image of the same sources.
        for (one, other) in names("one").iter().zip(named("one", "gcc 1, as 1, ld 2")) {
            assert_ne!(*one, other);
        }
    }

    #[test]
    fn the_newest_images_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let epoch = SystemTime::UNIX_EPOCH;
        let ours = (0..=KEPT as u64).map(|age| (format!("rust-{age}"), age));
        for (name, age) in ours.chain([("rust-next-0".to_owned(), 0)]) {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            let time = epoch + std::time::Duration::from_secs(age);
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
        }
        forget_old(dir.path(), Variant::find("rust").unwrap()).unwrap();
        let left = |name: &str| dir.path().join(name).exists();
        assert!(!left("rust-0"));
        assert!((1..=KEPT).all(|age| left(&format!("rust-{age}"))));
        assert!(left("rust-next-0"));
    }
}
