// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way to the next kernel.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use luo_lab_protocol::{KERNEL_DIR, param};

use crate::command_line::{Args, CommandLine};
use crate::init::Guest;
use crate::{leaks, port};

/// The initramfs that this kernel was booted with. The kernel keeps it because
/// `retain_initrd` is on its command line.
const INITRD: &str = "/sys/firmware/initrd";

/// Loads the next kernel; `edit` may change its command line and arguments.
///
/// # Errors
/// If there is no such kernel, or the kernel refuses it.
pub(crate) fn load(guest: &Guest, edit: impl FnOnce(&mut CommandLine, &mut Args)) -> Result<()> {
    load_kernel(&next_kernel(guest)?, guest, edit)
}

/// As [`load`], a kernel that the command line does not have to name.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_kernel(
    path: &Path,
    guest: &Guest,
    edit: impl FnOnce(&mut CommandLine, &mut Args),
) -> Result<()> {
    let kernel = File::open(path).with_context(|| format!("{}", path.display()))?;
    let initrd = initrd().context("the initramfs; is retain_initrd on the command line?")?;
    let line = CString::new(guest.next_line(edit).to_line()?)?;
    luo_sys::kexec::load(&kernel, Some(&initrd), &line)
        .with_context(|| format!("{}", path.display()))
}

/// Jumps. Returns only if the kernel refused, with the reason. Whoever holds
/// sessions must hold them until here.
pub(crate) fn jump() -> luo_sys::Error {
    leaks::look(false);
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
    let mut copy = luo_sys::memfd::create("initrd", 0)?;
    copy_initrd(&mut copy)?;
    copy.rewind()?;
    Ok(copy)
}

/// Copies the initramfs into an empty file.
pub(crate) fn copy_initrd(copy: &mut File) -> Result<()> {
    let mut source = File::open(INITRD).context(INITRD)?;
    if copy_without_zeros(&mut source, copy)? == 0 {
        bail!("{INITRD} is empty");
    }
    Ok(())
}

/// Copies up to the last block that is not all zeros, and gives the length.
fn copy_without_zeros(source: &mut File, copy: &mut File) -> Result<u64> {
    let mut block = vec![0; 1 << 16];
    let mut skipped = 0;
    loop {
        let length = source.read(&mut block)?;
        let Some(read) = block.get(..length).filter(|read| !read.is_empty()) else {
            return Ok(copy.stream_position()?);
        };
        if read.iter().all(|&byte| byte == 0) {
            skipped += length as i64;
            continue;
        }
        copy.seek(SeekFrom::Current(skipped))?;
        skipped = 0;
        copy.write_all(read)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_at_the_end_stay_behind_and_others_come_along() {
        let file = |bytes: &[u8]| {
            let mut file = luo_sys::memfd::create("test", 0).unwrap();
            file.write_all(bytes).unwrap();
            file.rewind().unwrap();
            file
        };
        let mut bytes = vec![1; 100_000];
        bytes.resize(300_000, 0);
        bytes.extend([2; 5]);
        let whole = bytes.len();
        bytes.resize(1_000_000, 0);
        let (mut source, mut copy) = (file(&bytes), file(&[]));
        let length = copy_without_zeros(&mut source, &mut copy).unwrap();
        let mut copied = Vec::new();
        copy.rewind().unwrap();
        copy.read_to_end(&mut copied).unwrap();
        assert_eq!(copied.len() as u64, length);
        assert!(copied.len() >= whole && copied.len() < whole + (1 << 16));
        assert_eq!(copied, bytes[..copied.len()]);
        let mut nothing = file(&[]);
        assert_eq!(
            copy_without_zeros(&mut file(&[0; 9]), &mut nothing).unwrap(),
            0
        );
    }

    #[test]
    fn the_list_begins_again_at_its_end() {
        assert_eq!(pick("rust,c", 0), Some("rust"));
        assert_eq!(pick("rust,c", 1), Some("c"));
        assert_eq!(pick("rust,c", 6), Some("rust"));
        assert_eq!(pick("rust", 7), Some("rust"));
        assert_eq!(pick("", 0), None);
    }
}
