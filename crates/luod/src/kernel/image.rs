// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loading the kernel to jump into.

use std::ffi::CString;
use std::fs::{self, File};

use luo_sys::{Errno, kexec};
use luo_varlink::Target;

use crate::decide::failed::Failed;

/// Loads it.
///
/// # Errors
/// A file cannot be opened; as the kernel answers.
pub(super) fn load(target: &Target) -> Result<(), Failed> {
    let Some(image) = &target.image else {
        return Err(Failed::new("the target's image", Errno::EINVAL));
    };
    let open = |path: &String| File::open(path).map_err(|why| Failed::io(path, &why));
    let image = open(image)?;
    let initrd = target.initrd.as_ref().map(open).transpose()?;
    let line = CString::new(command_line(target)?)
        .map_err(|_| Failed::new("the target's command line", Errno::EINVAL))?;
    Ok(kexec::load(&image, initrd, &line)?)
}

/// The target's command line: what was named, or the running kernel's.
///
/// # Errors
/// `/proc` is not there.
pub fn command_line(target: &Target) -> Result<String, Failed> {
    if let Some(line) = &target.command_line {
        return Ok(line.clone());
    }
    let line = fs::read_to_string("/proc/cmdline");
    let line = line.map_err(|why| Failed::io("/proc/cmdline", &why))?;
    Ok(reused(&line))
}

/// A running kernel's command line, for another one: what the boot loader has added
/// for its image is left out.
fn reused(line: &str) -> String {
    let own = |word: &&str| !word.starts_with("BOOT_IMAGE=") && !word.starts_with("initrd=");
    let words: Vec<_> = line.split_whitespace().filter(own).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_boot_loader_added_is_left_out() {
        let line = "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro liveupdate=on initrd=x\n";
        assert_eq!(reused(line), "root=/dev/sda1 ro liveupdate=on");
    }

    #[test]
    fn a_target_without_an_image_is_refused() {
        let error = load(&Target::default()).unwrap_err();
        assert_eq!(error.errno(), Errno::EINVAL);
    }
}
