// SPDX-License-Identifier: MIT OR Apache-2.0
//! A shell on the console, for people.

use std::convert::Infallible;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use luo_lab_protocol::KERNEL_DIR;

use crate::init::Guest;
use crate::kexec;

const BUSYBOX: &str = "/bin/busybox";

/// The command that goes into another kernel.
pub(crate) const JUMP: &str = "jump";

/// Runs a shell and switches the machine off when it exits.
pub(crate) fn run(_guest: &Guest) -> Result<()> {
    // Without the applets the shell still has its built-in commands.
    let _ = Command::new(BUSYBOX)
        .args(["--install", "-s", "/bin"])
        .status();
    symlink("/init", format!("/bin/{JUMP}")).context(JUMP)?;
    // /dev/console cannot be a controlling terminal; what is behind it can.
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let terminal = match active.split_whitespace().next_back() {
        Some(name) => format!("/dev/{name}"),
        None => "/dev/console".to_owned(),
    };
    let console = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&terminal)
        .context(terminal)?;
    println!(
        "luo-guest: `{JUMP} KERNEL [WORD...]` goes by kexec into one of these: {}; words are of its \
         command line.\nluo-guest: what came with --with-file is in /root; `poweroff -f` ends it.",
        kernels()?.join(", ")
    );
    let status = Command::new(BUSYBOX)
        .args(["setsid", "-c", BUSYBOX, "sh"])
        .env("PATH", "/bin")
        .env("HOME", "/")
        .stdin(console.try_clone()?)
        .stdout(console.try_clone()?)
        .stderr(console)
        .status()
        .context(BUSYBOX)?;
    println!("luo-guest: the shell has ended: {status}");
    Ok(())
}

/// The kernels that can be jumped into, by name.
fn kernels() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(KERNEL_DIR).context(KERNEL_DIR)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Goes on in another kernel, with the same initramfs and command line but for the words that
/// are told. Returns why not, if not.
pub(crate) fn jump(told: impl Iterator<Item = String>) -> anyhow::Error {
    match try_jump(told) {
        Err(why) => why,
        Ok(never) => match never {},
    }
}

fn try_jump(mut told: impl Iterator<Item = String>) -> Result<Infallible> {
    let there = kernels()?.join(", ");
    let Some(kernel) = told.next().filter(|word| !word.starts_with('-')) else {
        bail!("{JUMP} KERNEL [WORD OF THE COMMAND LINE...]; there are: {there}");
    };
    // The path of a kernel that was brought along stays as it is.
    let path = Path::new(KERNEL_DIR).join(&kernel);
    if !path.is_file() {
        bail!("there is no kernel {kernel}; there are: {there}");
    }
    let guest = Guest::read(None)?;
    kexec::load_kernel(&path, &guest, |line, _| {
        for words in told {
            words.split_whitespace().for_each(|word| line.add(word));
        }
    })?;
    Err(kexec::jump()).context("the kexec was refused")
}
