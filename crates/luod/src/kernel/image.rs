// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loading the kernel to jump into.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::Path;

use luo_preflight::guest_clock::{self, Clock};
use luo_preflight::{image, initrd};
use luo_sys::{Errno, kexec};
use luo_varlink::Target;

use super::target::initrds;
use crate::decide::failed::Failed;

/// Loads it; of guests' clocks it is told what is handed on.
///
/// # Errors
/// A file cannot be opened; as the kernel answers.
pub(super) fn load(target: &Target, clock: Clock) -> Result<(), Failed> {
    let Some(image) = &target.image else {
        return Err(Failed::new("the target's image", Errno::EINVAL));
    };
    let unpacked = image::unpack(Path::new(image)).map_err(|why| unreadable(image, &why))?;
    let line = command_line(target, unpacked.command_line.as_deref(), clock)?;
    let named = initrd::together(&initrds(target));
    let named = named.map_err(|(path, why)| unreadable(&path.display().to_string(), &why))?;
    let initrd = named.map(|(file, _)| file).or(unpacked.initrd);
    let line =
        CString::new(line).map_err(|_| Failed::new("the target's command line", Errno::EINVAL))?;
    Ok(kexec::load(&unpacked.kernel, initrd, &line)?)
}

fn unreadable(path: &str, why: &image::Error) -> Failed {
    match why {
        image::Error::Io(why) => Failed::io(path, why),
        why => Failed::io(path, &io::Error::other(why.to_string())),
    }
}

/// The target's command line: what was named, or what the image brings along, or the
/// running kernel's; with what is handed on of guests' clocks.
///
/// # Errors
/// `/proc` is not there.
pub fn command_line(
    target: &Target,
    of_image: Option<&str>,
    clock: Clock,
) -> Result<String, Failed> {
    if let Some(line) = target.command_line.as_deref().or(of_image) {
        return Ok(guest_clock::handed_on(clock, line));
    }
    let line = fs::read_to_string("/proc/cmdline");
    let line = line.map_err(|why| Failed::io("/proc/cmdline", &why))?;
    Ok(guest_clock::handed_on(clock, &reused(&line)))
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
    fn the_line_that_is_named_comes_before_that_of_the_image() {
        let mut target = Target::default();
        let none = Clock::default();
        let line = |target: &Target| command_line(target, Some("of the image"), none).unwrap();
        assert_eq!(line(&target), "of the image");
        target.command_line = Some("named".to_owned());
        assert_eq!(line(&target), "named");
        let clock = Clock {
            has_kvm: true,
            is_tsc: true,
            guests_khz: Some(2_400_000),
            ..Clock::default()
        };
        let line = command_line(&target, None, clock).unwrap();
        assert_eq!(line, "tsc_early_khz=2400000 named");
    }

    #[test]
    fn a_target_without_an_image_is_refused() {
        let error = load(&Target::default(), Clock::default()).unwrap_err();
        assert_eq!(error.errno(), Errno::EINVAL);
    }
}
