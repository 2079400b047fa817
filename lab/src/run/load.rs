// SPDX-License-Identifier: MIT OR Apache-2.0
//! The loads under which orchestrators are measured.

/// A load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Its name in those of scenarios and counts.
    pub name: &'static str,
    /// What it is, for people.
    pub words: &'static str,
    /// The scenario in the guest.
    pub guest: &'static str,
    /// The scenario's arguments.
    pub args: &'static [&'static str],
    /// What its kernels are told besides.
    pub cmdline: &'static [&'static str],
    /// MiB of memory that the machine has.
    pub memory: u32,
}

/// The loads, the smallest first.
pub const LOADS: &[Load] = &[
    Load {
        name: "2x2",
        words: "2 sessions of 2 files",
        guest: "bench",
        args: &["sessions:2", "files:2"],
        cmdline: &[],
        memory: 2048,
    },
    Load {
        name: "100x1",
        words: "100 sessions of a file",
        guest: "bench",
        args: &["sessions:100"],
        cmdline: &[],
        memory: 2048,
    },
    Load {
        name: "2000x1",
        words: "2,000 sessions of a file",
        guest: "bench",
        args: &["sessions:2000"],
        cmdline: &[],
        memory: 2048,
    },
    Load {
        name: "1x2000",
        words: "a session of 2,000 files",
        guest: "bench",
        args: &["sessions:1", "files:2000"],
        cmdline: &[],
        memory: 2048,
    },
    Load {
        name: "16M",
        words: "a file of 16 MiB",
        guest: "blackout",
        args: &["pages:4096"],
        cmdline: &[],
        memory: 2048,
    },
    Load {
        name: "16M-runs",
        words: "a file of 16 MiB, handed over in runs",
        guest: "blackout",
        args: &["pages:4096", "format:runs"],
        cmdline: &[],
        memory: 2048,
    },
    Load {
        name: "16M-scattered",
        words: "a file of 16 MiB, no two pages of which are neighbours, handed over in runs",
        guest: "blackout",
        args: &["pages:4096", "format:runs", "lie:scattered"],
        cmdline: &[],
        memory: 2048,
    },
    Load {
        name: "16M-aligned",
        words: "a file of 128 MiB, 16 of which are written and lie in memory as in the file, handed over in runs",
        guest: "blackout",
        args: &["pages:4096", "format:runs", "lie:aligned"],
        cmdline: &[],
        memory: 2048,
    },
    Load {
        name: "16M-huge",
        words: "a file of 16 MiB of large folios, handed over in runs",
        guest: "blackout",
        args: &["pages:4096", "format:runs", "lie:huge"],
        cmdline: &[],
        memory: 2048,
    },
    Load {
        name: "64M-hole",
        words: "a file of 64 MiB of which a page is written, handed over in runs",
        guest: "blackout",
        // The first call in a machine costs more than all that is counted of the holes.
        args: &["pages:16384", "format:runs", "written:1", "ready:1"],
        cmdline: &[],
        memory: 2048,
    },
];

/// Loads that are measured when they are asked for by name. Nothing is agreed on of them: with
/// most of them a machine takes minutes.
pub const ASKED: &[Load] = &[
    Load {
        name: "4K-runs",
        words: "a file of a page, handed over in runs",
        guest: "blackout",
        args: &["pages:1", "format:runs"],
        cmdline: &[],
        memory: 2048,
    },
    Load {
        name: "512M-runs",
        words: "a file of 512 MiB, handed over in runs",
        guest: "blackout",
        args: &["pages:131072", "format:runs"],
        cmdline: &[],
        memory: 2048,
    },
    Load {
        name: "512M-scratch",
        words: "a file of 512 MiB in a machine of 1,280 whose scratch area is as large as the kernel makes it, handed over in runs",
        guest: "blackout",
        args: &["pages:131072", "format:runs"],
        cmdline: &["kho_scratch=200%"],
        memory: 1280,
    },
];

/// The load that the gate counts instructions of.
pub const OF_THE_GATE: &Load = &LOADS[1];
