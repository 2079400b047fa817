// SPDX-License-Identifier: MIT OR Apache-2.0
//! Being process 1: the machine's set-up, and every way out of the program.
//!
//! Whatever happens, the host hears how it went and the machine is switched
//! off: an error, a panic and a hang end in the same place.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use luo_lab_protocol::{Event, Outcome, param};
use rustix::mount::MountFlags;
use rustix::process::{Resource, Rlimit};

use crate::command_line::{Args, CommandLine};
use crate::{leaks, port};

/// Open files that a benchmark with 20,000 sessions and as many memfds needs,
/// with room; also the kernel's default ceiling.
const OPEN_FILES: u64 = 1 << 20;

/// Seconds after which a boot counts as hung, unless `timeout:` says otherwise.
const TIMEOUT: u64 = 900;

/// The argument that tells the next kernel of a failure in this one.
const FAILED_BEFORE: &str = "failed";

/// What the command line asks for.
pub(crate) struct Guest {
    /// The scenario's name.
    pub(crate) scenario: String,
    /// How many kernels ran before this one.
    pub(crate) boot: u32,
    /// The scenario's arguments.
    pub(crate) args: Args,
    /// The whole line, as the template for the next kernel's.
    pub(crate) line: CommandLine,
    /// What the processor's counter said when this program began.
    pub(crate) started: Option<u64>,
}

impl Guest {
    /// Reads `/proc/cmdline`; the program began at `started`.
    ///
    /// # Errors
    /// If a parameter cannot be read.
    pub(crate) fn read(started: Option<u64>) -> Result<Self> {
        let line = CommandLine::parse(&fs::read_to_string("/proc/cmdline")?);
        let args = Args::parse(line.get(param::ARGS).unwrap_or_default())?;
        if args.text(FAILED_BEFORE).is_some() {
            port::set_failed();
        }
        Ok(Self {
            scenario: line.get(param::SCENARIO).unwrap_or("shell").to_owned(),
            boot: line
                .get(param::BOOT)
                .unwrap_or("0")
                .parse()
                .context(param::BOOT)?,
            args,
            line,
            started,
        })
    }

    /// The line for the next kernel: one boot further, `edit` applied.
    pub(crate) fn next_line(&self, edit: impl FnOnce(&mut CommandLine, &mut Args)) -> CommandLine {
        let (mut line, mut args) = (self.line.clone(), self.args.clone());
        if port::has_failed() {
            args.set(FAILED_BEFORE, 1);
        }
        line.set(param::BOOT, self.boot + 1);
        edit(&mut line, &mut args);
        line.set(param::ARGS, args);
        line
    }
}

/// Mounts what a bare initramfs lacks.
///
/// # Errors
/// If one of the file systems cannot be mounted.
pub(crate) fn mount() -> Result<()> {
    for (kind, path) in [
        ("devtmpfs", "/dev"),
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("debugfs", "/sys/kernel/debug"),
        ("configfs", "/sys/kernel/config"),
        ("tmpfs", "/tmp"),
    ] {
        // The kernel made the mount points inside sysfs, the others may lack.
        let _ = fs::create_dir_all(path);
        match rustix::mount::mount(kind, path, kind, MountFlags::empty(), None) {
            // A kernel with DEVTMPFS_MOUNT has been here before us.
            Ok(()) | Err(rustix::io::Errno::BUSY) => {}
            Err(errno) => return Err(errno).with_context(|| format!("mount {path}")),
        }
    }
    Ok(())
}

/// Raises the limits on open files.
///
/// # Errors
/// If the kernel refuses.
pub(crate) fn raise_limits() -> Result<()> {
    fs::write("/proc/sys/fs/nr_open", OPEN_FILES.to_string()).context("nr_open")?;
    fs::write("/proc/sys/fs/file-max", (4 * OPEN_FILES).to_string()).context("file-max")?;
    let limit = Rlimit {
        current: Some(OPEN_FILES),
        maximum: Some(OPEN_FILES),
    };
    rustix::process::setrlimit(Resource::Nofile, limit).context("RLIMIT_NOFILE")
}

/// Tells the host which kernel runs.
pub(crate) fn announce(guest: &Guest) {
    let uname = rustix::system::uname();
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    port::send(&Event::Boot {
        boot: guest.boot,
        release: uname.release().to_string_lossy().into_owned(),
        boot_id: boot_id.trim().to_owned(),
        version: uname.version().to_string_lossy().into_owned(),
    });
}

/// Ends the run if the scenario hangs. A scenario for people has no end.
pub(crate) fn watch(guest: &Guest) {
    if guest.scenario == "shell" {
        return;
    }
    port::answers();
    let seconds = guest.args.get("timeout", TIMEOUT).unwrap_or(TIMEOUT);
    let name = guest.scenario.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(seconds));
        port::stacks();
        port::case(
            format!("{name}::timeout"),
            Outcome::Failed,
            format!("still running after {seconds} s"),
        );
        power_off();
    });
}

/// Makes a panic of any thread end the run. Nothing is unwound: the release
/// build aborts, and process 1 must not.
pub(crate) fn panics_end_the_run() {
    std::panic::set_hook(Box::new(|info| {
        port::case("guest::panic", Outcome::Failed, info.to_string());
        power_off();
    }));
}

/// The end of the scenario: an error counts as a failed case.
pub(crate) fn end(result: Result<()>) -> ! {
    if let Err(error) = result {
        port::case("guest::error", Outcome::Failed, format!("{error:#}"));
    }
    leaks::look(true);
    power_off()
}

fn power_off() -> ! {
    let ok = !port::has_failed();
    port::send(&Event::Done { ok });
    port::flush();
    rustix::fs::sync();
    let error = luo_sys::kexec::power_off();
    eprintln!("luo-guest: {error}");
    loop {
        // Process 1 must not exit, or the kernel panics.
        std::thread::sleep(Duration::from_secs(3600));
    }
}
