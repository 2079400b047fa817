// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernels that are built, all from one tree and in one build folder.

use anyhow::{Result, bail};

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
    /// Whether the in-kernel tests and debug checks are on.
    pub checks: bool,
    /// A fragment of its own, by its name in `kernel/config`.
    pub own: Option<&'static str>,
}

/// In the order that flips the fewest options from one to the next.
pub const VARIANTS: &[Variant] = &[
    Variant {
        name: "c",
        purpose: "mainline's orchestrator in C, to compare with",
        rust: false,
        checks: true,
        own: None,
    },
    Variant {
        name: "rust",
        purpose: "the orchestrator in Rust",
        rust: true,
        checks: true,
        own: None,
    },
    Variant {
        name: "rust-next",
        purpose: "the same again, as the kernel to update to",
        rust: true,
        checks: true,
        own: None,
    },
    Variant {
        name: "bench-rust",
        purpose: "the orchestrator in Rust without checks",
        rust: true,
        checks: false,
        own: None,
    },
    Variant {
        name: "bench-c",
        purpose: "mainline's orchestrator without checks",
        rust: false,
        checks: false,
        own: None,
    },
    // The last one: what it has more recompiles nearly everything.
    Variant {
        name: "systemd",
        purpose: "the orchestrator in Rust, with what systemd needs of a kernel",
        rust: true,
        checks: true,
        own: Some("systemd.config"),
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

    /// The fragments in `kernel/config` that make this kernel, in order.
    #[must_use]
    pub fn fragments(&self, forge: bool) -> Vec<&'static str> {
        let mut names = vec!["base.config", "rust.config"];
        if self.checks {
            names.push("test.config");
            if forge {
                names.push("forge.config");
            }
        }
        names.extend(self.own);
        names
    }

    /// The options of this variant alone.
    #[must_use]
    pub fn options(&self) -> String {
        format!(
            "CONFIG_LIVEUPDATE_RUST={}\n",
            if self.rust { "y" } else { "n" }
        )
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
    fn only_checked_kernels_have_the_forge() {
        let with = |name: &str| Variant::find(name).unwrap().fragments(true);
        assert!(with("c").contains(&"forge.config"));
        assert!(!with("bench-c").contains(&"forge.config"));
    }
}
