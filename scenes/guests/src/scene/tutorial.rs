// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line of the book's first steps, as it stands there, in a shell: what it starts goes through
//! two updates. Only the accelerator and the disk are those of this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::updates::{is_mapped, quits};
use crate::machine::Machine;

/// The book.
const BOOK: &str = include_str!("../../../../docs/guests.md");

/// The guest's name in it.
const NAME: &str = "web";

pub(super) fn run(machine: &mut Machine, boot: usize) -> Result<()> {
    machine.begin()?;
    let mut web = machine.beside(NAME)?;
    // It has no other place to do so.
    web.firmware_speaks = true;
    let programs = web.path("bin");
    if boot == 0 {
        fs::create_dir_all(&programs)?;
        let own = std::env::current_exe()?;
        script(
            &programs.join("luo-qemu"),
            &format!("{} luo-qemu", own.display()),
        )?;
        // One without a folder is found as it is.
        if web.qemu.components().count() > 1 {
            let qemu = web.qemu.display().to_string();
            script(&programs.join("qemu-system-x86_64"), &qemu)?;
        }
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", &line(&web)?])
        .env("PATH", format!("{}:{path}", programs.display()))
        .stdout(web.appended("serial")?);
    web.set_up(&mut shell)?;
    web.start_by(shell)?;
    if boot > 0 {
        web.is_completed()?;
        ensure!(web.lines("resumed: ") == boot, "{}", web.log());
        is_mapped(&web, 4 << 30)?;
    }
    web.runs()?;
    web.counts_on()?;
    if boot < 2 {
        return web.jump();
    }
    quits(&web)
}

/// The command line.
fn line(web: &Machine) -> Result<String> {
    let begin = format!("    luo-qemu run {NAME} ");
    let at = BOOK.find(&begin).context("the book has no such line")?;
    let mut line = String::new();
    for part in BOOK[at..].lines() {
        line.push_str(part);
        line.push('\n');
        if !part.ends_with('\\') {
            break;
        }
    }
    let disk = web.path("disk").display().to_string();
    for (book, here) in [("kvm", "tcg"), ("/srv/web.img", &disk)] {
        ensure!(line.contains(book), "{line}");
        line = line.replace(book, here);
    }
    Ok(format!("exec {}", line.trim_start()))
}

/// A program that stands for another one.
fn script(path: &Path, command: &str) -> Result<()> {
    fs::write(path, format!("#!/bin/sh\nexec {command} \"$@\"\n"))?;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o755),
    )?)
}
