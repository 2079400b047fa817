// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine: a tree of files like that of a real system.

use luo_preflight::image::Compression;
use luo_preflight::running::Running;
use luo_preflight::system::System;
use tempfile::TempDir;

use crate::build;
use crate::tree::put;

pub(crate) const MIB: u64 = 1 << 20;

/// A machine of 2 GiB with a kernel that has all that is needed.
pub(crate) fn machine() -> TempDir {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    put(root, "proc/sys/kernel/osrelease", "7.3.4-now\n");
    put(root, "proc/sys/kernel/arch", "x86_64\n");
    put(root, "proc/cmdline", "console=ttyS0 liveupdate=on\n");
    put(
        root,
        "proc/config.gz",
        build::compress(Compression::Gzip, build::CONFIG.as_bytes()),
    );
    put(
        root,
        "proc/meminfo",
        "MemTotal: 2097152 kB\nMemAvailable: 1048576 kB\n",
    );
    put(root, "proc/sys/kernel/kexec_load_disabled", "0\n");
    put(root, "sys/kernel/kexec/loaded", "0\n");
    put(root, "sys/kernel/liveupdate/state", "normal\n");
    put(root, "sys/kernel/security/lsm", "capability");
    put(
        root,
        "sys/kernel/debug/kho/out/scratch_len",
        "0x2000000\n0x4000000\n0x2000000\n",
    );
    put(
        root,
        "sys/kernel/debug/kho/out/scratch_phys",
        "0x2000000\n0x70000000\n0x6c000000\n",
    );
    put(
        root,
        "sys/kernel/debug/kho/out/fdt",
        b"\xd0\x0d\xfe\xed\0\0kho-v4\0compatible\0",
    );
    put(
        root,
        "sys/kernel/debug/kho/out/sub_fdts/LUO",
        b"luo-v5\0\0\x01\0\0\0\0\0\0\0",
    );
    put(root, "dev/liveupdate", "");
    folder
}

pub(crate) fn running(folder: &TempDir) -> Running {
    System::at(folder.path()).running()
}
