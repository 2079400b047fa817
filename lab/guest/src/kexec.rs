// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way to the next kernel.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Seek;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use luo_lab_protocol::{KERNEL_DIR, param};

use crate::command_line::{Args, CommandLine};
use crate::init::Guest;
use crate::port;

/// The initramfs that this kernel was booted with. The kernel keeps it because
/// `retain_initrd` is on its command line.
const INITRD: &str = "/sys/firmware/initrd";

/// Loads the next kernel; `edit` may change its command line and arguments.
///
/// # Errors
/// If there is no such kernel, or the kernel refuses it.
pub(crate) fn load(guest: &Guest, edit: impl FnOnce(&mut CommandLine, &mut Args)) -> Result<()> {
    let path = next_kernel(guest)?;
    let kernel = File::open(&path).with_context(|| format!("{}", path.display()))?;
    let initrd = initrd().context("the initramfs; is retain_initrd on the command line?")?;
    let line = CString::new(guest.next_line(edit).to_line()?)?;
    luo_sys::kexec::load(&kernel, Some(&initrd), &line)
        .with_context(|| format!("{}", path.display()))
}

/// Jumps. Returns only if the kernel refused, with the reason. Whoever holds
/// sessions must hold them until here.
pub(crate) fn jump() -> luo_sys::Error {
    port::flush();
    rustix::fs::sync();
    luo_sys::kexec::execute()
}

/// Loads and jumps; there is no success to return.
///
/// # Errors
/// As [`load`], or what the jump was refused with.
pub(crate) fn go(guest: &Guest, edit: impl FnOnce(&mut CommandLine, &mut Args)) -> Result<()> {
    load(guest, edit)?;
    Err(jump()).context("the kexec was refused")
}

/// As [`go`], but the next kernel counts as the same boot.
///
/// # Errors
/// As [`go`].
pub(crate) fn again(guest: &Guest, edit: impl FnOnce(&mut CommandLine, &mut Args)) -> Result<()> {
    go(guest, |line, args| {
        edit(line, args);
        line.set(param::BOOT, guest.boot);
    })
}

/// The kernel that `luo.next` names for this boot, or the only one there is.
pub(crate) fn next_kernel(guest: &Guest) -> Result<PathBuf> {
    if let Some(list) = guest.line.get(param::NEXT) {
        let name = pick(list, guest.boot).context("luo.next names no kernel")?;
        return Ok(PathBuf::from(KERNEL_DIR).join(name));
    }
    let mut kernels = Vec::new();
    for entry in fs::read_dir(KERNEL_DIR).context(KERNEL_DIR)? {
        kernels.push(entry?.path());
    }
    match kernels.as_slice() {
        [only] => Ok(only.clone()),
        _ => bail!("{} kernels and no luo.next", kernels.len()),
    }
}

/// Entry number `boot` of a comma-separated list that begins again at its end.
fn pick(list: &str, boot: u32) -> Option<&str> {
    let names = || list.split(',').filter(|name| !name.is_empty());
    names()
        .cycle()
        .nth(usize::try_from(boot).ok()?.checked_rem(names().count())?)
}

/// A copy of the initramfs: the system call reads regular files only.
pub(crate) fn initrd() -> Result<File> {
    let mut source = File::open(INITRD).context(INITRD)?;
    let mut copy = luo_sys::memfd::create("initrd", 0)?;
    if std::io::copy(&mut source, &mut copy)? == 0 {
        bail!("{INITRD} is empty");
    }
    copy.rewind()?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_begins_again_at_its_end() {
        assert_eq!(pick("rust,c", 0), Some("rust"));
        assert_eq!(pick("rust,c", 1), Some("c"));
        assert_eq!(pick("rust,c", 6), Some("rust"));
        assert_eq!(pick("rust", 7), Some("rust"));
        assert_eq!(pick("", 0), None);
    }
}
