// SPDX-License-Identifier: MIT OR Apache-2.0
//! KVM, loaded once the kernel knows how fast the processor's counter (TSC) runs.
//!
//! KVM takes that frequency when it is loaded, and a kernel that was told none measures it for a
//! second or two: at first roughly, then for good. Where the processor cannot scale the counter a
//! guest that was started by the rough one has clocks that leap under the next kernel. A kernel
//! that comes by a jump is told (`tsc_early_khz=`), and the first one is waited for here.
//!
//! | KVM is | the kernel was told | then |
//! |---|---|---|
//! | not loaded | - | it is loaded, once the clock has settled |
//! | loaded | yes | nothing |
//! | loaded, in use | no | that is said: it may have been too early, and is too late |
//! | loaded, not in use | no | it is loaded anew, once the clock has settled |

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::exit::Error;

/// Between two looks at the clock. Nothing tells of it.
const PAUSE: Duration = Duration::from_millis(20);

/// What the kernel measures time by.
const CLOCK: &str = "sys/devices/system/clocksource/clocksource0/current_clocksource";

/// What to do about KVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Nothing,
    Load,
    LoadAnew,
    TooLate,
}

/// The machine, as its files tell.
struct Host<'a> {
    root: &'a Path,
}

impl Host<'_> {
    fn text(&self, path: &str) -> Result<String, Error> {
        let path = self.root.join(path);
        fs::read_to_string(&path).map_err(Error::system(path.display().to_string()))
    }

    /// The module of this processor's kind, if it can run guests.
    fn module(&self) -> Result<Option<&'static str>, Error> {
        let text = self.text("proc/cpuinfo")?;
        let flags = text.lines().find(|line| line.starts_with("flags"));
        let has =
            |wanted: &str| flags.is_some_and(|line| line.split(' ').any(|flag| flag == wanted));
        Ok(if has("vmx") {
            Some("kvm_intel")
        } else {
            has("svm").then_some("kvm_amd")
        })
    }

    /// The kernel was told how fast the counter runs.
    fn is_told(&self) -> Result<bool, Error> {
        let line = self.text("proc/cmdline")?;
        let mut words = line.split_ascii_whitespace();
        Ok(words.any(|word| word.starts_with("tsc_early_khz=")))
    }

    /// The kernel has measured the counter for good, or does not go by it.
    fn is_settled(&self) -> Result<bool, Error> {
        // A hypervisor has said what its clock runs at.
        Ok(matches!(self.text(CLOCK)?.trim(), "tsc" | "kvm-clock"))
    }

    /// What is to be done about a module.
    fn task(&self, module: &str) -> Result<Task, Error> {
        let folder = self.root.join("sys/module").join(module);
        if !folder.exists() {
            return Ok(Task::Load);
        }
        if self.is_told()? {
            return Ok(Task::Nothing);
        }
        // One that is built in has none.
        let users = fs::read_to_string(folder.join("refcnt"));
        Ok(match users {
            Ok(users) if users.trim() == "0" => Task::LoadAnew,
            _ => Task::TooLate,
        })
    }
}

/// Loads KVM, waiting for the clock for so long at most.
///
/// # Errors
/// [`Error::System`]; [`Error::Unfit`] if the kernel does not take the module.
pub fn load(wait: Duration, say: &dyn Fn(&str)) -> Result<(), Error> {
    let host = Host {
        root: Path::new("/"),
    };
    let Some(module) = host.module()? else {
        say("this processor has no virtualization, or it is switched off: there is no KVM to load");
        return Ok(());
    };
    let task = host.task(module)?;
    match task {
        Task::Nothing => {
            say("KVM is loaded, and this kernel was told how fast the processor's counter runs");
            return Ok(());
        }
        Task::TooLate => {
            say(&format!(
                "{module} is in use, or built in: it has the frequency of the processor's counter that \
                 was known when it was loaded. The check guest-clock of luoctl says whether that \
                 matters"
            ));
            return Ok(());
        }
        Task::Load | Task::LoadAnew => {}
    }
    let end = Instant::now() + wait;
    while !host.is_told()? && !host.is_settled()? {
        if Instant::now() >= end {
            say(
                "the kernel does not go by the processor's counter: it is not waited for any longer",
            );
            break;
        }
        std::thread::sleep(PAUSE);
    }
    if task == Task::LoadAnew {
        modprobe(&["-r", module])?;
    }
    modprobe(&[module])?;
    say(&format!("{module} is loaded"));
    Ok(())
}

fn modprobe(arguments: &[&str]) -> Result<(), Error> {
    let what = format!("modprobe {}", arguments.join(" "));
    let status = Command::new("modprobe").args(arguments).status();
    let status = status.map_err(Error::system(what.clone()))?;
    if !status.success() {
        let why = io::Error::other(status.to_string());
        return Err(Error::system(what)(why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kvm_is_loaded_anew_where_it_may_have_come_too_early() {
        let root = tempfile::tempdir().unwrap();
        let host = Host { root: root.path() };
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu svm sse\n");
        put("proc/cmdline", "quiet root=/dev/vda1\n");
        put(CLOCK, "tsc-early\n");
        let task = || host.task("kvm_amd").unwrap();
        assert_eq!(host.module().unwrap(), Some("kvm_amd"));
        assert_eq!(task(), Task::Load);
        put("sys/module/kvm_amd/refcnt", "0\n");
        assert_eq!(task(), Task::LoadAnew);
        put("sys/module/kvm_amd/refcnt", "2\n");
        assert_eq!(task(), Task::TooLate);
        put("proc/cmdline", "quiet tsc_early_khz=2400000\n");
        assert_eq!(task(), Task::Nothing);
        assert!(!host.is_settled().unwrap());
        put(CLOCK, "tsc\n");
        assert!(host.is_settled().unwrap());
        put("proc/cpuinfo", "flags\t\t: fpu vmx\n");
        assert_eq!(host.module().unwrap(), Some("kvm_intel"));
        put("proc/cpuinfo", "flags\t\t: fpu\n");
        assert_eq!(host.module().unwrap(), None);
    }
}
