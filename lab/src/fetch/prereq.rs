// SPDX-License-Identifier: MIT OR Apache-2.0
//! The packages of the machine that the harness needs.
//!
//! Debian 12 or newer, or a derivative with the same names. Compilers newer
//! than the distribution's do not come from here, see [`crate::fetch::toolchain`].

use std::process::Command;

use anyhow::{Result, bail};

use crate::cache::Cache;
use crate::fetch::toolchain::LLVM;
use crate::process;
use crate::progress::Step;

/// Package and reason, the reason being what a person reads before it is
/// installed.
const PACKAGES: &[(&str, &str)] = &[
    ("bc", "computes kernel headers"),
    ("binutils", "assembles and links the kernel"),
    ("bison", "generates Kconfig's parser"),
    ("busybox-static", "is the shell inside the VM"),
    ("debian-archive-keyring", "verifies downloads from Debian"),
    ("flex", "generates Kconfig's scanner"),
    ("g++", "compiles libFuzzer"),
    ("gcc", "compiles the kernel"),
    ("kmod", "is asked for by the kernel's build"),
    ("libc6-dev", "links static programs for the VM"),
    ("libclang1-19", "parses the kernel's headers for bindgen"),
    ("libelf-dev", "lets the build read object files"),
    ("libssl-dev", "is used by the kernel's build tools"),
    ("lz4", "compresses the kernel"),
    ("make", "drives the kernel's build"),
    ("patch", "applies kernel/patches"),
    ("perl", "generates kernel headers"),
    ("qemu-system-x86", "runs the VM"),
    ("rsync", "installs the kernel's user-space headers"),
    ("xz-utils", "unpacks the kernel's source"),
    ("zlib1g-dev", "is used by the kernel's build tools"),
];

/// Sees to it that every package is installed.
///
/// # Errors
/// This is no x86-64 Debian, or a package is missing and cannot be installed;
/// the message has the command that would.
pub fn ensure(cache: &Cache) -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the test kernels are x86-64 and are built natively: use an x86-64 machine");
    }
    let installed = installed()?;
    let missing: Vec<_> = PACKAGES
        .iter()
        .filter(|(name, _)| !installed.iter().any(|have| have == name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("These packages are missing:");
    for (name, why) in &missing {
        eprintln!("  {name:24} {why}");
    }
    let names: Vec<_> = missing.iter().map(|(name, _)| *name).collect();
    install(cache, &names)
}

/// Sees to it that there is a compiler for libFuzzer, which is in C++.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_fuzzing(cache: &Cache) -> Result<()> {
    ensure_program(cache, "g++", "it compiles libFuzzer")
}

/// Sees to it that there is Python, for the tests of the package in `python/`.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_python(cache: &Cache) -> Result<()> {
    ensure_program(cache, "python3", "the client for Python is tested")
}

/// Sees to it that there is Go, for the test of the example in `examples/go`.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_go(cache: &Cache) -> Result<()> {
    let there = Command::new("go").arg("version").output();
    if there.is_ok_and(|ran| ran.status.success()) {
        return Ok(());
    }
    eprintln!("go is missing: the example in Go is tested");
    install(cache, &["golang-go"])
}

/// Sees to it that there is a browser, which draws pictures and pages in their tests.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_browser(cache: &Cache) -> Result<()> {
    ensure_program(
        cache,
        "chromium",
        "it draws pictures and pages in their tests",
    )
}

/// A program whose package has its name.
fn ensure_program(cache: &Cache, program: &str, why: &str) -> Result<()> {
    let there = Command::new(program).arg("--version").output();
    if there.is_ok_and(|ran| ran.status.success()) {
        return Ok(());
    }
    eprintln!("{program} is missing: {why}");
    install(cache, &[program])
}

/// Sees to it that there is a Clang for kernels that take it, and what goes with it.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_clang(cache: &Cache) -> Result<()> {
    let tools = [("clang", "clang"), ("ld.lld", "lld"), ("llvm-nm", "llvm")];
    let is_missing = |program: &str| {
        let mut command = Command::new(format!("{program}-{LLVM}"));
        let ran = command.arg("--version").output();
        !ran.is_ok_and(|ran| ran.status.success())
    };
    let missing = tools.iter().filter(|(program, _)| is_missing(program));
    let names: Vec<_> = missing
        .map(|(_, package)| format!("{package}-{LLVM}"))
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    eprintln!(
        "{} missing: a kernel with a checker of memory accesses is compiled with Clang",
        names.join(", ")
    );
    install(cache, &names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Names of the packages among [`PACKAGES`] that are fully installed.
fn installed() -> Result<Vec<String>> {
    let query = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(PACKAGES.iter().map(|(name, _)| name))
        .output();
    let Ok(query) = query else {
        let names: Vec<_> = PACKAGES.iter().map(|(name, _)| *name).collect();
        bail!(
            "dpkg-query does not run, so this is no Debian and the harness cannot install what it needs. \
             Use Debian 12 or newer, for example in a container, with: {}",
            names.join(" ")
        );
    };
    // It fails when it does not know one of the names, and lists the others.
    Ok(parse_installed(&String::from_utf8_lossy(&query.stdout)))
}

fn parse_installed(listing: &str) -> Vec<String> {
    listing
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .map(str::to_owned)
        .collect()
}

fn install(cache: &Cache, names: &[&str]) -> Result<()> {
    let by_hand = format!(
        "apt-get update && apt-get install -y --no-install-recommends {}",
        names.join(" ")
    );
    let _lock = cache.lock("apt")?;
    let root = process::output(Command::new("id").arg("-u"))?.trim() == "0";
    if !root
        && !Command::new("sudo")
            .args(["-n", "true"])
            .output()
            .is_ok_and(|sudo| sudo.status.success())
    {
        bail!(
            "installing packages needs root, and sudo does not work without a password. Run as root:\n  {by_hand}"
        );
    }
    let steps: [(&str, &[&str]); 2] = [
        ("update", &["update"]),
        ("install", &["install", "-y", "--no-install-recommends"]),
    ];
    for (name, arguments) in steps {
        let mut command = if root {
            Command::new("apt-get")
        } else {
            Command::new("sudo")
        };
        if !root {
            command.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        }
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(arguments);
        if name == "install" {
            command.args(names);
        }
        let mut step = Step::new(&format!("apt-get {name}"));
        let ran = process::logged(
            &mut command,
            &cache.log(&format!("apt-{name}")),
            &mut step,
            |step, _| step.tick(),
        );
        if let Err(error) = ran {
            bail!("{error:#}\nOnce apt works, run as root:\n  {by_hand}");
        }
        step.done();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_packages_count() {
        let listing = "bc installed\nflex config-files\nmake installed\n";
        assert_eq!(parse_installed(listing), ["bc", "make"]);
    }
}
