// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernels that are built, all from one source tree.

use anyhow::{Result, bail};

use crate::build::artifact::Artifact;

/// A kernel: the same source and nearly the same options, told apart by its
/// release (`uname -r`).
#[derive(Debug, PartialEq, Eq)]
pub struct Variant {
    /// The name in commands, and of the file in the guest's `/kernels`.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// Whether the orchestrator is the one in Rust.
    pub rust: bool,
    /// What it has beside the orchestrator.
    pub setup: Setup,
}

/// The options of a kernel beside its orchestrator. Two kernels of one set-up differ
/// in a few object files; those of two set-ups differ in nearly all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// For tests: in-kernel tests, debug checks, and what systemd needs of a kernel.
    Test,
    /// For measurements: none of that.
    Bench,
    /// As for tests, and checkers of locks, objects, pages and leaks, and allocations
    /// that fail on request.
    Debug,
    /// As for tests, and a checker of each access to memory.
    Kasan,
}

impl Setup {
    /// The fragments in `kernel/config` that make it, in order.
    #[must_use]
    pub fn fragments(self, forge: bool) -> Vec<&'static str> {
        let mut names = vec!["base.config", "rust.config"];
        if self != Self::Bench {
            names.extend(["systemd.config", "test.config"]);
            if forge {
                names.push("forge.config");
            }
        }
        match self {
            Self::Test | Self::Bench => {}
            Self::Debug => names.push("debug.config"),
            Self::Kasan => names.push("kasan.config"),
        }
        if self.has_kvm() {
            names.push("kvm.config");
        }
        names
    }

    /// Whether guests can be run in it.
    const fn has_kvm(self) -> bool {
        !matches!(self, Self::Bench)
    }

    /// Its build folder in the cache. It has one of its own, because a change of set-up
    /// compiles nearly everything anew, and a change of variant within one only a few
    /// files.
    #[must_use]
    pub const fn build_folder(self) -> &'static str {
        match self {
            Self::Test => "build/test",
            Self::Bench => "build/bench",
            Self::Debug => "build/debug",
            Self::Kasan => "build/kasan",
        }
    }

    /// The compiler of its C part.
    #[must_use]
    pub const fn compiler(self) -> Compiler {
        match self {
            Self::Test | Self::Bench | Self::Debug => Compiler::Gcc,
            Self::Kasan => Compiler::Clang,
        }
    }
}

/// A compiler of C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// The machine's.
    Gcc,
    /// LLVM's, with its assembler and linker.
    Clang,
}

/// In the order in which they are built: a variant differs little from the one before
/// it. Those of the benchmarks and of the checkers come last and are built when they are
/// asked for.
pub const VARIANTS: &[Variant] = &[
    Variant {
        name: "c",
        purpose: "mainline's orchestrator in C, to compare with",
        rust: false,
        setup: Setup::Test,
    },
    Variant {
        name: "rust",
        purpose: "the orchestrator in Rust",
        rust: true,
        setup: Setup::Test,
    },
    Variant {
        name: "rust-next",
        purpose: "the same again, as the kernel to update to",
        rust: true,
        setup: Setup::Test,
    },
    Variant {
        name: "bench-rust",
        purpose: "the orchestrator in Rust without checks",
        rust: true,
        setup: Setup::Bench,
    },
    Variant {
        name: "bench-c",
        purpose: "mainline's orchestrator without checks",
        rust: false,
        setup: Setup::Bench,
    },
    Variant {
        name: "debug",
        purpose: "the orchestrator in Rust under checkers of locks, objects and leaks",
        rust: true,
        setup: Setup::Debug,
    },
    Variant {
        name: "kasan",
        purpose: "the orchestrator in Rust under a checker of each access to memory",
        rust: true,
        setup: Setup::Kasan,
    },
];

impl Variant {
    /// Looks a variant up.
    ///
    /// # Errors
    /// There is none of that name; the message lists them.
    pub fn find(name: &str) -> Result<&'static Self> {
        match VARIANTS.iter().find(|variant| variant.name == name) {
            Some(variant) => Ok(variant),
            None => {
                let names: Vec<_> = VARIANTS.iter().map(|variant| variant.name).collect();
                bail!(
                    "there is no kernel variant `{name}`; there are {}",
                    names.join(", ")
                )
            }
        }
    }

    /// What is appended to the kernel's version. Given to make and not to
    /// Kconfig, so that a change of name alone recompiles next to nothing.
    #[must_use]
    pub fn local_version(&self) -> String {
        format!("-luo-{}", self.name)
    }

    /// Whether a release (`uname -r`) is this variant's.
    #[must_use]
    pub fn owns_release(&self, release: &str) -> bool {
        release.ends_with(&self.local_version())
    }

    /// The options of this variant alone.
    #[must_use]
    pub fn options(&self) -> String {
        let mut options = format!(
            "CONFIG_LIVEUPDATE_RUST={0}\nCONFIG_LIVEUPDATE_MEMFD_RUST={0}\n\
             CONFIG_PCI_LIVEUPDATE={0}\n",
            if self.rust { "y" } else { "n" }
        );
        if self.has_slots() {
            options += "CONFIG_LIVEUPDATE_SLOT=m\nCONFIG_LIVEUPDATE_RUST_KUNIT_TEST=y\n";
        }
        options
    }

    /// Whether it has what tests of drivers in Rust take.
    fn has_slots(&self) -> bool {
        self.rust && self.setup != Setup::Bench
    }

    /// Its modules of which an artifact is made, by where the build leaves them, in the order in
    /// which they are loaded.
    #[must_use]
    pub fn modules(&self, of: Artifact) -> &'static [&'static str] {
        match of {
            Artifact::Kvm if self.setup.has_kvm() => &[
                "virt/lib/irqbypass.ko",
                "arch/x86/kvm/kvm.ko",
                "arch/x86/kvm/kvm-amd.ko",
            ],
            Artifact::Slot if self.has_slots() => &["lib/tests/luo_slot.ko"],
            _ => &[],
        }
    }

    /// All its modules, which are kept beside the image.
    pub fn all_modules(&self) -> impl Iterator<Item = &'static str> {
        let modules = |of: &Artifact| self.modules(*of).iter().copied();
        Artifact::OF_MODULES.iter().flat_map(modules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_told_apart() {
        let rust = Variant::find("rust").unwrap();
        assert!(rust.owns_release("7.3.4-luo-rust"));
        assert!(!rust.owns_release("7.3.4-luo-rust-next"));
        assert!(!rust.owns_release("7.3.4-luo-bench-rust"));
        assert!(
            Variant::find("nope")
                .unwrap_err()
                .to_string()
                .contains("rust-next")
        );
    }

    #[test]
    fn only_kernels_for_tests_have_the_forge() {
        assert!(Setup::Test.fragments(true).contains(&"forge.config"));
        assert!(!Setup::Test.fragments(false).contains(&"forge.config"));
        assert!(!Setup::Bench.fragments(true).contains(&"forge.config"));
        assert!(Setup::Kasan.fragments(true).contains(&"forge.config"));
    }

    #[test]
    fn modules_are_where_their_options_are() {
        for variant in VARIANTS {
            let slot = variant.options().contains("CONFIG_LIVEUPDATE_SLOT=m");
            let modules: Vec<_> = variant.all_modules().collect();
            assert_eq!(modules.contains(&"lib/tests/luo_slot.ko"), slot);
            let kvm = variant.setup.fragments(true).contains(&"kvm.config");
            assert_eq!(modules.contains(&"arch/x86/kvm/kvm.ko"), kvm);
            let names: Vec<_> = modules.iter().map(|path| path.rsplit('/').next()).collect();
            let mut each = names.clone();
            each.sort_unstable();
            each.dedup();
            assert_eq!(each.len(), names.len(), "{}", variant.name);
        }
        assert!(
            Variant::find("c")
                .unwrap()
                .modules(Artifact::Slot)
                .is_empty()
        );
    }

    #[test]
    fn variants_of_a_setup_stand_together() {
        let folders: Vec<_> = VARIANTS.iter().map(|v| v.setup.build_folder()).collect();
        let mut changes = folders.clone();
        changes.dedup();
        assert_eq!(
            changes,
            ["build/test", "build/bench", "build/debug", "build/kasan"]
        );
    }
}
