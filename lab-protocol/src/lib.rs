// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guest of a VM test tells the host.
//!
//! The guest writes one [`Event`] a line, as JSON, to its second serial port
//! ([`GUEST_PORT`]); the first one carries the kernel's console and is scanned
//! by the host for warnings and oopses. The guest learns what to do from
//! parameters on its kernel command line ([`param`]).
//!
//! A crowd of `luo-scenes` tells its figures by the same lines, on its standard output.
//!
//! This crate is data only. The guest's side is `luo-guest`, the host's is
//! `luo-lab`.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// The guest's device node of the port that carries events.
pub const GUEST_PORT: &str = "/dev/ttyS1";

/// The line by which the host asks a machine whose time is nearly over where its tasks stand. The
/// kernel's console has the answer.
pub const WHERE: &str = "where";

/// Where the initramfs keeps the kernels that a guest can kexec into, one file
/// a variant (see [`param::NEXT`]).
pub const KERNEL_DIR: &str = "/kernels";

/// The guest's folder with the modules of its kernels, a folder for each, by the kernel's name.
pub const MODULE_DIR: &str = "/modules";

/// Where the initramfs keeps a Linux for guests of the machine's own: its kernel `vmlinuz`, and in `modules`
/// those that it is to load, which are in order by their names.
pub const LINUX_DIR: &str = "/linux";

/// Where the initramfs keeps the kernel tree's own selftests.
pub const SELFTEST_DIR: &str = "/selftests";

/// Where the initramfs keeps our own test programs in C.
pub const CLIENT_DIR: &str = "/clients";

/// Names of kernel command-line parameters the guest understands.
pub mod param {
    /// The scenario to run, for example `luo.scenario=demo`.
    pub const SCENARIO: &str = "luo.scenario";
    /// How many kernels ran before this one, decimal; absent means 0.
    pub const BOOT: &str = "luo.boot";
    /// Comma-separated variants to kexec into, in order, and then again from the
    /// first. For example `luo.next=rust,c`.
    pub const NEXT: &str = "luo.next";
    /// Free arguments of a scenario, comma-separated `key:value` pairs, for
    /// example `luo.args=kexecs:50,seed:7`.
    pub const ARGS: &str = "luo.args";
}

/// How a guest says to whoever counts its instructions one by one that a measured call begins
/// and ends: it makes a system call that nothing else makes, and these are the functions of the
/// kernel that answer it.
pub mod window {
    /// Of `getsid`: the call that is measured begins.
    pub const BEGIN: &str = "__x64_sys_getsid";
    /// Of `getpgid`: it has ended.
    pub const END: &str = "__x64_sys_getpgid";
}

/// What marks of a guest of the machine's own begin with; its name follows.
pub mod guest_mark {
    /// Its state is written.
    pub const STOPPED: &str = "stopped ";
    /// It runs again.
    pub const RUNS: &str = "runs ";
}

/// How a test case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The case asserted what it set out to assert.
    Passed,
    /// An assertion did not hold; the detail says which.
    Failed,
    /// The case could not run here; the detail says why.
    Skipped,
}

/// One line from the guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Init has started in a kernel. Sent once a boot, first of all.
    Boot {
        /// How many kernels ran before this one since power-on.
        boot: u32,
        /// `uname -r`.
        release: String,
        /// `/proc/sys/kernel/random/boot_id`.
        boot_id: String,
        /// `uname -v`.
        version: String,
    },
    /// A sentence for the person who watches.
    Progress {
        /// The sentence, without a newline.
        text: String,
    },
    /// A point in time; the host stamps it on arrival.
    Mark {
        /// What has just happened, for example `preserve_begin`.
        name: String,
    },
    /// A test case has ended.
    Case {
        /// `scenario::case`, unique within a run.
        name: String,
        /// How it ended.
        outcome: Outcome,
        /// What was seen; empty when there is nothing to say.
        detail: String,
    },
    /// A measured figure.
    Sample {
        /// What was measured, for example `create`.
        metric: String,
        /// The size of the set-up, for example the number of sessions.
        n: u64,
        /// The figure in nanoseconds per operation, or as `unit` says.
        value: f64,
        /// For example `ns/op`.
        unit: String,
    },
    /// A text file for the person who watches.
    File {
        /// Its name, for example `update.svg`.
        name: String,
        /// What is in it.
        text: String,
    },
    /// The scenario is over; the guest powers off next.
    Done {
        /// False if anything failed.
        ok: bool,
    },
}

impl Event {
    /// The line, without a newline.
    #[must_use]
    pub fn to_line(&self) -> String {
        // A string-keyed enum of strings and numbers always serializes.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads one line.
    ///
    /// # Errors
    /// Whatever is not an event, with the reason.
    pub fn from_line(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_the_wire() {
        let event = Event::Case {
            name: "demo::verify".into(),
            outcome: Outcome::Failed,
            detail: "a \"quoted\"\nline".into(),
        };
        let line = event.to_line();
        assert!(!line.contains('\n'));
        assert_eq!(Event::from_line(&line).unwrap(), event);
    }

    #[test]
    fn noise_is_an_error() {
        assert!(Event::from_line("[    0.0] Linux version").is_err());
    }
}
