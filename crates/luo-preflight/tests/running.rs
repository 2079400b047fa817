// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is read of the running system.

mod build;
mod machine;
mod tree;

use std::fs;

use build::Kernel;
use luo_preflight::abi::{Abi, FAMILIES};
use luo_preflight::image::Compression;
use luo_preflight::memory::Memory;
use luo_preflight::running::{Lockdown, checks};
use luo_preflight::scratch::Area;
use luo_preflight::system::System;
use luo_varlink::CheckStatus;
use machine::{MIB, machine, running};
use tree::put;

#[test]
fn the_system_is_read() {
    let folder = machine();
    let running = running(&folder);
    assert_eq!(running.release.as_deref(), Ok("7.3.4-now"));
    assert_eq!(running.machine.as_deref(), Ok("x86_64"));
    assert!(running.config.as_ref().unwrap().has("LIVEUPDATE"));
    assert_eq!(running.has_device, Ok(true));
    assert_eq!(running.strings, ["kho-v4", "luo-v5"]);
    let memory = Memory {
        movable: 0,
        total: 2048 * MIB,
        available: 1024 * MIB,
    };
    assert_eq!(running.memory, Ok(memory));
    assert_eq!(running.lockdown, Ok(Lockdown::None));
    assert_eq!(
        (running.is_loaded, running.is_loading_disabled),
        (Ok(false), Ok(false))
    );
    assert!(running.loads_left.is_err(), "it counts nothing");
    put(
        folder.path(),
        "proc/sys/kernel/kexec_load_limit_reboot",
        "-1\n",
    );
    assert_eq!(self::running(&folder).loads_left, Ok(-1));
    let second = Area {
        start: Some(0x7000_0000),
        bytes: 64 * MIB,
    };
    let areas = running.scratch.unwrap();
    assert_eq!((areas.len(), areas[1]), (3, second));
}

/// A link to itself stands for what cannot be looked at: an error of a disk, or a right that is
/// missing.
#[test]
fn what_cannot_be_looked_at_is_not_told_to_be_missing() {
    let folder = machine();
    let root = folder.path();
    for place in ["dev/liveupdate", "sys/kernel/security/lockdown"] {
        let path = root.join(place);
        let above = path.parent().unwrap();
        fs::remove_dir_all(above).unwrap();
        std::os::unix::fs::symlink(above, above).unwrap();
    }
    let running = running(&folder);
    let why = running.has_device.as_ref().unwrap_err();
    assert!(why.starts_with("/dev/liveupdate: "), "{why}");
    assert!(running.lockdown.is_err());
    let check = checks(&running).swap_remove(0);
    assert_eq!(check.name, "running-liveupdate");
    assert_eq!(check.status, CheckStatus::Unknown, "{}", check.found);
}

#[test]
fn a_system_that_says_nonsense_is_not_known() {
    let folder = machine();
    let root = folder.path();
    put(root, "proc/config.gz", "no gzip");
    put(root, "proc/meminfo", [0xff; 100]);
    put(root, "proc/sys/kernel/kexec_load_disabled", "2\n");
    put(root, "sys/kernel/kexec/loaded", vec![b'0'; 100_000]);
    put(
        root,
        "sys/kernel/debug/kho/out/scratch_len",
        "0x10000000000000000\n",
    );
    put(root, "sys/kernel/security/lockdown", "none integrity");
    let running = running(&folder);
    assert!(running.config.is_err());
    assert!(running.memory.is_err());
    assert!(running.is_loading_disabled.is_err());
    assert!(running.is_loaded.is_err());
    assert!(running.scratch.is_err());
    assert!(running.lockdown.is_err());
}

#[test]
fn places_of_distributions_are_known() {
    let folder = machine();
    fs::remove_file(folder.path().join("proc/config.gz")).unwrap();
    put(folder.path(), "boot/config-7.3.4-now", "CONFIG_A=y\n");
    assert!(running(&folder).config.unwrap().has("A"));
    put(
        folder.path(),
        "sys/kernel/security/lockdown",
        "none [integrity] confidentiality\n",
    );
    assert_eq!(running(&folder).lockdown, Ok(Lockdown::Integrity));
}

#[test]
fn without_debugfs_the_command_line_tells_the_scratch_areas() {
    let folder = machine();
    let root = folder.path();
    fs::remove_dir_all(root.join("sys/kernel/debug")).unwrap();
    assert!(running(&folder).scratch.is_err());
    put(
        root,
        "proc/cmdline",
        "liveupdate=on kho_scratch=32M,64M,31M\n",
    );
    put(root, "sys/devices/system/node/has_memory", "0-1,4\n");
    let areas = running(&folder).scratch.unwrap();
    let sizes: Vec<_> = areas.iter().map(|area| area.bytes / MIB).collect();
    assert_eq!(sizes, [32, 64, 32, 32, 32]);
}

/// Linux 6.19 to 7.2 with mainline's orchestrator, which tells nothing, and without debugfs.
#[test]
fn without_debugfs_the_running_kernels_image_tells_the_formats() {
    let folder = machine();
    let root = folder.path();
    let none: [&str; 0] = [];
    let abi = || {
        let system = System::at(root);
        Abi::of(&none, &system.running().strings, || {
            system.own_strings(&FAMILIES)
        })
    };
    fs::remove_dir_all(root.join("sys/kernel/debug")).unwrap();
    assert!(abi().known.is_empty() && abi().unknown.len() == 3);
    let own = Kernel {
        strings: vec!["luo-v3", "kho-v2", "memfd-v1"],
        release: "7.3.4-now",
        ..Kernel::ours()
    };
    let bytes = build::bz_image(&build::payload(Compression::Zstd, &own.bytes()));
    put(root, "boot/vmlinuz-7.3.4-now", &bytes);
    // Another build of the same release.
    put(root, "proc/version", "Linux version 7.3.4-now (b@c) #2\n");
    assert!(abi().known.is_empty());
    put(root, "proc/version", "Linux version 7.3.4-now (a@b) #1\n");
    assert_eq!(abi().known, ["kho-v2", "memfd-v1", "luo-v3"]);
    // Where GRUB says that it is.
    fs::remove_file(root.join("boot/vmlinuz-7.3.4-now")).unwrap();
    put(root, "boot/old/linux", &bytes);
    put(
        root,
        "proc/cmdline",
        "BOOT_IMAGE=(hd0,gpt2)/old/linux quiet\n",
    );
    assert_eq!(abi().known, ["kho-v2", "memfd-v1", "luo-v3"]);
}

#[test]
fn each_limit_of_memory_is_found_with_whose_it_is() {
    let folder = machine();
    let root = folder.path();
    put(root, "sys/fs/cgroup/system.slice/memory.max", "2097152\n");
    put(
        root,
        "sys/fs/cgroup/system.slice/a.service/memory.max",
        "max\n",
    );
    put(root, "sys/fs/cgroup/b.service/memory.max", "4096\n");
    put(
        root,
        "sys/fs/cgroup/system.slice/c.service/memory.max",
        "7\n",
    );
    let limits = |group: &str| System::at(root).memory_limits(group).unwrap();
    let slice = ("/system.slice".to_owned(), 2 << 20);
    let of_slice = std::slice::from_ref(&slice);
    assert_eq!(limits("/system.slice/a.service"), of_slice);
    let own = ("/system.slice/c.service".to_owned(), 7);
    assert_eq!(limits("/system.slice/c.service"), [slice, own]);
    assert_eq!(limits("/b.service"), [("/b.service".to_owned(), 4096)]);
    for none in ["/c.service", "/../b.service", "/"] {
        assert_eq!(limits(none), [], "{none}");
    }
}
