// SPDX-License-Identifier: MIT OR Apache-2.0
//! The plugin of QEMU that writes down which blocks of instructions run, `lab/plugin`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use luo_lab_protocol::window;

use super::symbols::Symbols;
use crate::cache::{Cache, Key};
use crate::process;
use crate::run::qemu;

const SOURCE: &str = include_str!("../../plugin/blocks.c");

/// The plugin, compiled for the QEMU that is there.
///
/// # Errors
/// QEMU does not say what it is, or there is no compiler.
pub fn build(cache: &Cache) -> Result<PathBuf> {
    let said = process::output(Command::new(qemu::PROGRAM).arg("--version"))?;
    let interface = interface(&said).with_context(|| format!("QEMU says of itself: {said}"))?;
    let key = Key::default()
        .add("source", SOURCE)
        .add("interface", interface);
    let folder = cache.folder(&format!("plugins/blocks-{}", key.short()), |dir| {
        let source = dir.join("blocks.c");
        fs::write(&source, SOURCE)?;
        let mut command = Command::new("gcc");
        command
            .args("-std=gnu11 -O2 -Wall -Wextra -Werror -fPIC -shared".split(' '))
            .arg(format!("-DINTERFACE={interface}"))
            .arg("-o")
            .args([dir.join("blocks.so"), source]);
        process::output(&mut command).map(drop)
    })?;
    Ok(folder.join("blocks.so"))
}

/// Which version of its interface for plugins a QEMU has that says so of itself. Those from
/// 9.0 on refuse plugins for the first one, and older ones those for the second; what the
/// plugin uses is in both.
fn interface(said: &str) -> Option<&'static str> {
    let (_, version) = said.split_once("version ")?;
    let major: u32 = version.split('.').next()?.parse().ok()?;
    Some(if major < 9 { "1" } else { "2" })
}

/// The argument that has QEMU use a plugin, for a kernel with these symbols.
///
/// # Errors
/// The kernel has no such functions as open and close a window.
pub fn argument(plugin: &Path, symbols: &Symbols, out: &Path) -> Result<String> {
    let address = |function: &str| {
        let address = symbols.address(function);
        address.with_context(|| format!("the kernel has no function {function}"))
    };
    Ok(format!(
        "file={},begin={:x},end={:x},out={}",
        plugin.display(),
        address(window::BEGIN)?,
        address(window::END)?,
        out.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_that_of_the_release() {
        let of = |version| interface(&format!("QEMU emulator version {version} (Debian)\n"));
        assert_eq!(of("7.2.22"), Some("1"));
        assert_eq!(of("8.2.1"), Some("1"));
        assert_eq!(of("10.0.2"), Some("2"));
        assert_eq!(interface("no QEMU"), None);
    }

    #[test]
    fn the_argument_has_the_addresses() {
        let map = format!("ff01 T {}\nff20 T {}\n", window::BEGIN, window::END);
        let symbols = Symbols::parse(&map).unwrap();
        let argument = argument(Path::new("/b.so"), &symbols, Path::new("/p")).unwrap();
        assert_eq!(argument, "file=/b.so,begin=ff01,end=ff20,out=/p");
    }
}
