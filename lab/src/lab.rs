// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything put together: from a checkout to a machine that has run.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use luo_lab_protocol::{Event, MODULE_DIR};
use rustix::fs::{CWD, FileType, Mode};

use crate::bench::counts::{self, Counts};
use crate::build::artifact::Artifact;
use crate::build::guest::Programs;
use crate::build::initramfs::{self, Contents, Node, Own, Tree};
use crate::build::kernel::{Images, Kernels};
use crate::build::source::Source;
use crate::build::variant::Variant;
use crate::build::{self, clients, guest, selftests, systemd};
use crate::cache::{Cache, forget_oldest};
use crate::fetch::prereq;
use crate::fetch::toolchain::Toolchain;
use crate::interrupt;
use crate::judge::{self, Case};
use crate::profile::symbols::Symbols;
use crate::profile::{self, Profile, fold, plugin};
use crate::room::{self, Needs};
use crate::run::qemu::{self, BootFiles, Machine, Recording, Stamped};
use crate::run::scenario::{Clock, Scenario};
use crate::run::shell;

/// How many console logs are kept.
const KEPT_LOGS: usize = 60;

/// A checkout and a cache. What is built is built once a run, and so is what
/// fails to build.
#[derive(Debug)]
pub struct Lab {
    /// The cache.
    pub cache: Cache,
    /// The checkout.
    pub repo: PathBuf,
    base: OnceCell<Result<Base, String>>,
    images: std::cell::RefCell<BTreeMap<&'static str, Result<PathBuf, String>>>,
    guest: OnceCell<Result<Programs, String>>,
    selftests: OnceCell<Result<PathBuf, String>>,
}

#[derive(Debug)]
struct Base {
    tools: Toolchain,
    source: Source,
}

impl Lab {
    /// Finds the checkout around the current folder, and the cache.
    ///
    /// # Errors
    /// Either is not to be found.
    pub fn open() -> Result<Self> {
        interrupt::install();
        let here = std::env::current_dir()?;
        let repo = here
            .ancestors()
            .find(|dir| dir.join("kernel/config/base.config").exists())
            .context("this is no checkout of the project: run it inside one")?
            .to_owned();
        Ok(Self {
            cache: Cache::open()?,
            repo,
            base: OnceCell::new(),
            images: std::cell::RefCell::default(),
            guest: OnceCell::new(),
            selftests: OnceCell::new(),
        })
    }

    /// Builds what is missing of some kernels.
    ///
    /// # Errors
    /// One of them cannot be built.
    pub fn kernels(&self, variants: &[&str]) -> Result<Images> {
        let variants = variants
            .iter()
            .map(|name| Variant::find(name))
            .collect::<Result<Vec<_>>>()?;
        let base = self.base()?;
        let kernels = Kernels::new(&self.cache, &self.repo, &base.tools, &base.source);
        let mut images = Images::new();
        let mut failures = Vec::new();
        for variant in crate::build::variant::VARIANTS
            .iter()
            .filter(|variant| variants.contains(variant))
        {
            let mut known = self.images.borrow_mut();
            let image = known.entry(variant.name).or_insert_with(|| {
                let built = kernels.images(&[variant]);
                built
                    .and_then(|mut built| built.remove(variant.name).context("no image"))
                    .map_err(explain)
            });
            match image {
                Ok(image) => drop(images.insert(variant.name, image.clone())),
                Err(why) => failures.push(why.clone()),
            }
            interrupt::check()?;
        }
        if failures.is_empty() {
            Ok(images)
        } else {
            Err(anyhow!(failures.join("\n")))
        }
    }

    /// Builds what a scenario boots from.
    ///
    /// # Errors
    /// Something cannot be built.
    pub fn boot_files(&self, scenario: &Scenario) -> Result<BootFiles> {
        self.boot_files_with(scenario, Tree::new())
    }

    /// As [`Self::boot_files`], with further files in a guest that has our own init.
    fn boot_files_with(&self, scenario: &Scenario, further: Tree) -> Result<BootFiles> {
        let mut images = self.kernels(&scenario.variants())?;
        let kernel = images
            .get(scenario.first)
            .context("the first kernel is not among the images")?
            .clone();
        let modules = modules(scenario, &images)?;
        // What is only booted does not have to be in memory, too.
        images.retain(|name, _| scenario.next.contains(name));
        let programs = self.programs()?;
        if let Some(release) = scenario.systemd() {
            let tree = systemd::root(&self.cache, &self.repo, programs, release)?;
            let initrd = initramfs::build(
                &self.cache,
                &Contents::Root(&tree, &images),
                scenario.initrd,
            )?;
            return Ok(BootFiles { kernel, initrd });
        }
        let selftests = if scenario.needs(Artifact::Selftests) {
            Some(self.selftests()?)
        } else {
            None
        };
        let clients = if scenario.needs(Artifact::Clients) {
            Some(clients::build(&self.cache, &self.repo)?)
        } else {
            None
        };
        let mut files = modules;
        files.extend(further);
        if scenario.needs(Artifact::Qemu) {
            files.extend(build::qemu::files(&self.cache)?);
        }
        if scenario.needs(Artifact::CloudLinux) {
            files.extend(build::cloud_linux::files(&self.cache)?);
        }
        let own = Own {
            init: &programs.guest(),
            kernels: &images,
            shell: scenario.needs(Artifact::Shell),
            selftests,
            clients: clients.as_deref(),
            files: Some(&files).filter(|files| !files.is_empty()),
        };
        let initrd = initramfs::build(&self.cache, &Contents::Own(own), scenario.initrd)?;
        Ok(BootFiles { kernel, initrd })
    }

    /// What is to be booted for a scenario; whatever is missing of it is built.
    ///
    /// # Errors
    /// Something cannot be built.
    pub fn machine(&self, scenario: &Scenario, show_console: bool) -> Result<Machine> {
        Ok(Machine {
            files: self.boot_files(scenario)?,
            cmdline: scenario.kernel_cmdline(),
            memory: scenario.memory,
            processors: scenario.processors,
            devices: scenario.devices,
            plugin: None,
            timeout: scenario.timeout,
            log: self.console_log(&scenario.name)?,
            show_console,
        })
    }

    /// Runs a scenario; `on_event` sees events as they come.
    ///
    /// # Errors
    /// Something cannot be built, or the machine cannot be started.
    pub fn run(
        &self,
        scenario: &Scenario,
        show_console: bool,
        on_event: impl FnMut(&Stamped<Event>),
    ) -> Result<Recording> {
        qemu::run(&self.machine(scenario, show_console)?, on_event)
    }

    /// Runs a scenario that measures, and says where its instructions go.
    ///
    /// # Errors
    /// As [`Self::run`], and if its kernels are not one and the same.
    pub fn profile(&self, scenario: &Scenario) -> Result<(Recording, Vec<Profile>)> {
        let mut machine = self.machine(scenario, false)?;
        ensure!(
            scenario.variants().len() == 1,
            "{} has kernels whose functions lie elsewhere",
            scenario.name
        );
        let symbols = &Symbols::read(&machine.files.kernel.with_file_name("System.map"))?;
        let folder = tempfile::tempdir()?;
        let pipe = folder.path().join("blocks");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        // While this is open, nobody waits to open the pipe, and it has no end.
        let held = File::options().read(true).write(true).open(&pipe)?;
        let blocks = File::open(&pipe)?;
        let built = plugin::build(&self.cache)?;
        machine.plugin = Some(plugin::argument(&built, symbols, &pipe)?);
        let (recording, windows) = std::thread::scope(|scope| {
            let folded = scope.spawn(move || fold::read(blocks, symbols));
            let recording = qemu::run(&machine, |_| {});
            drop(held);
            let windows = folded
                .join()
                .map_err(|_| anyhow!("the reader has panicked"));
            (recording, windows)
        });
        let recording = recording?;
        let profiles = profile::of(&recording, windows??)?;
        Ok((recording, profiles))
    }

    /// All cases of a run: see [`judge::cases`] and [`Self::counted`].
    ///
    /// # Errors
    /// A console rule is no regular expression, or there are no counts to compare with.
    pub fn cases(&self, scenario: &Scenario, recording: &Recording) -> Result<Vec<Case>> {
        let mut cases = judge::cases(scenario, recording)?;
        cases.extend(self.counted(scenario, recording)?);
        Ok(cases)
    }

    /// A case for each count, if the run has counted instructions under a load.
    ///
    /// # Errors
    /// There are no counts to compare with.
    pub fn counted(&self, scenario: &Scenario, recording: &Recording) -> Result<Vec<Case>> {
        let (Clock::Instructions, Some(load)) = (scenario.processors.clock, scenario.load) else {
            return Ok(Vec::new());
        };
        let run = counts::of(recording);
        let agreed = Counts::read(&self.repo)?;
        let compilers = self.compilers()?;
        Ok(agreed.judge(&scenario.name, scenario.first, load, &run, &compilers))
    }

    /// The compilers that kernels are built with.
    ///
    /// # Errors
    /// One of them is not to be had.
    pub fn compilers(&self) -> Result<String> {
        let tools = &self.base()?.tools;
        Ok(format!("{}; {}", tools.gcc_version, tools.rustc_version))
    }

    /// Boots `variant` with a shell on the terminal and waits for its end. Every
    /// kernel in `with` is there to be kexec'd into, and `files` under `/root`.
    ///
    /// # Errors
    /// A file is not there, something cannot be built, or QEMU fails.
    pub fn shell(
        &self,
        variant: &'static Variant,
        with: &[&'static Variant],
        files: &[PathBuf],
    ) -> Result<()> {
        let scenario = shell::scenario(variant, with);
        let mut further = shell::brought(files)?;
        further.extend(shell::own(self.programs()?));
        shell::run(&scenario, &self.boot_files_with(&scenario, further)?)
    }

    /// A console's log of its own for this run, so that two runs of a scenario
    /// do not overwrite each other's evidence.
    fn console_log(&self, scenario: &str) -> Result<PathBuf> {
        let folder = self.cache.path("logs/vm");
        std::fs::create_dir_all(&folder)?;
        forget_oldest(&folder, KEPT_LOGS)?;
        Ok(folder.join(format!("{scenario}-{}.log", std::process::id())))
    }

    /// Removes kernels and the build tree; with `all` everything else too.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn clean(&self, all: bool) -> Result<()> {
        let mut folders = vec!["build", "images", "initramfs"];
        if all {
            folders.extend([
                "apt",
                "clients",
                "downloads",
                "fuzz",
                "logs",
                "plugins",
                "roots",
                "selftests",
                "src",
                "tools",
            ]);
        }
        // A kernel is compiled under the lock of its source.
        let _source = self.cache.lock("src")?;
        for folder in folders {
            let _lock = self.cache.lock(folder)?;
            self.cache.remove(folder)?;
        }
        Ok(())
    }

    /// Looks whether there is room on the disk for what is not built yet.
    ///
    /// # Errors
    /// There is too little: what takes how much where, and what to do.
    pub fn ensure_room(&self, needs: Needs) -> Result<()> {
        let target = guest::target_directory(&self.repo)?;
        room::ensure(&needs.folders(self.cache.path(""), target))
    }

    /// Sees to it that the machine's packages are there that everything else takes.
    ///
    /// # Errors
    /// One is missing and cannot be installed.
    pub fn prerequisites(&self) -> Result<()> {
        prereq::ensure(&self.cache)
    }

    /// The guest's programs, built if they are not as the checkout is.
    ///
    /// # Errors
    /// One does not compile.
    pub fn programs(&self) -> Result<&Programs> {
        let build = || guest::build(&self.cache, &self.repo).map_err(explain);
        remembered(self.guest.get_or_init(build))
    }

    /// The folder with the kernel tree's selftests as programs, built if they are
    /// not there.
    ///
    /// # Errors
    /// The source or a tool is not to be had, or a program does not compile.
    pub fn selftests(&self) -> Result<&Path> {
        let base = self.base()?;
        let build = || selftests::build(&self.cache, &base.tools, &base.source).map_err(explain);
        remembered(self.selftests.get_or_init(build)).map(PathBuf::as_path)
    }

    fn base(&self) -> Result<&Base> {
        let prepare = || -> Result<Base> {
            prereq::ensure(&self.cache)?;
            let tools = Toolchain::prepare(&self.cache)?;
            let source = Source::find(&self.cache, &self.repo)?;
            Ok(Base { tools, source })
        };
        remembered(self.base.get_or_init(|| prepare().map_err(explain)))
    }
}

/// The modules that a scenario's guest wants, of each kernel that it runs.
fn modules(scenario: &Scenario, images: &Images) -> Result<Tree> {
    let mut tree = Tree::new();
    for (name, image) in images {
        let variant = Variant::find(name)?;
        let wanted = scenario.needs.iter().map(|of| variant.modules(*of));
        for path in wanted.flatten() {
            let file = Path::new(path).file_name().context("a module's name")?;
            let place = Path::new(MODULE_DIR.trim_start_matches('/'))
                .join(name)
                .join(file);
            let place = place.to_str().context("a module's place")?.to_owned();
            let (from, mode) = (image.with_file_name(file), 0o644);
            tree.insert(place, Node::File { from, mode });
        }
    }
    Ok(tree)
}

fn explain(error: anyhow::Error) -> String {
    format!("{error:#}")
}

/// An error that is remembered is a text: the original went to the first who
/// asked.
fn remembered<T>(result: &Result<T, String>) -> Result<&T> {
    match result {
        Ok(value) => Ok(value),
        Err(why) => bail!("{why}"),
    }
}
