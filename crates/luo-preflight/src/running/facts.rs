// SPDX-License-Identifier: MIT OR Apache-2.0
//! What there is to know of the running kernel.

use crate::check::Known;
use crate::guest_clock::Clock;
use crate::kconfig::Config;
use crate::memory::Memory;
use crate::scratch::Area;

/// How much the kernel is locked down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lockdown {
    /// The kernel is not locked down, or knows no lockdown.
    None,
    /// Programs cannot change the running kernel.
    Integrity,
    /// Programs cannot read the running kernel's memory, either.
    Confidentiality,
}

/// The facts of the running kernel. Each `Err` says why a fact is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its release, as `uname -r`.
    pub release: Known<String>,
    /// Its banner, as in `/proc/version`.
    pub banner: Known<String>,
    /// The machine, as `uname -m`.
    pub machine: Known<String>,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Its command line.
    pub command_line: Known<String>,
    /// Its configuration.
    pub config: Known<Config>,
    /// Whether there is a `/dev/liveupdate`.
    pub has_device: Known<bool>,
    /// The word in `/sys/kernel/liveupdate/state`. Only this project's orchestrator has
    /// that file.
    pub state: Known<String>,
    /// ABI strings that it would hand over, as far as debugfs shows them.
    pub strings: Vec<String>,
    /// Kexec HandOver's scratch areas.
    pub scratch: Known<Vec<Area>>,
    /// The machine's memory.
    pub memory: Known<Memory>,
    /// Whether a kernel to jump into is loaded.
    pub is_loaded: Known<bool>,
    /// What kind it is, as this project's orchestrator shows it in
    /// `/sys/kernel/liveupdate/image`.
    pub image: Known<String>,
    /// Whether loading one is forbidden until the next boot.
    pub is_loading_disabled: Known<bool>,
    /// How often a kernel can still be loaded until then; -1 if nobody counts.
    pub loads_left: Known<i64>,
    /// How much the kernel is locked down.
    pub lockdown: Known<Lockdown>,
    /// `vm.memfd_noexec` of this process: 0 if memfds may be executed as ever, 1 if those may
    /// not whose maker says nothing, 2 if none may.
    pub memfd_noexec: Known<String>,
    /// What guests' clocks depend on.
    pub clock: Clock,
}

/// A kernel with which all is well.
#[cfg(test)]
pub(super) fn running() -> Running {
    Running {
        banner: Ok("Linux version 7.3.4 (a@b) #1".into()),
        clock: Clock::default(),
        release: Ok("7.3.4".into()),
        machine: Ok("x86_64".into()),
        page_bytes: 4096,
        command_line: Ok("liveupdate=on".into()),
        config: Err("no".into()),
        has_device: Ok(true),
        state: Ok("normal".into()),
        strings: vec![],
        scratch: Err("no".into()),
        memory: Err("no".into()),
        is_loaded: Ok(false),
        image: Err("no file".into()),
        is_loading_disabled: Ok(false),
        loads_left: Ok(-1),
        lockdown: Ok(Lockdown::None),
        memfd_noexec: Ok("0".into()),
    }
}
