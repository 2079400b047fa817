// SPDX-License-Identifier: MIT OR Apache-2.0
//! All checks of an update, from a tree of files like that of a real system.

mod build;
mod tree;

use std::fs;
use std::io::Cursor;

use build::Kernel;
use luo_preflight::abi::{Abi, FAMILIES};
use luo_preflight::file::{Facts, Kind};
use luo_preflight::image::{self, Compression, Error, Image};
use luo_preflight::initrd::{Archive, Unusable};
use luo_preflight::memory::Memory;
use luo_preflight::running::{Lockdown, Running};
use luo_preflight::scratch::Area;
use luo_preflight::system::System;
use luo_preflight::update::{self, Update};
use luo_preflight::{CheckStatus, Report, report, target};
use tempfile::TempDir;
use tree::put;

const MIB: u64 = 1 << 20;
const ABI: [&str; 4] = ["luo-v5", "kho-v4", "memfd-v2", "luo-contract-v1"];

/// A machine of 2 GiB with a kernel that has all that is needed.
fn machine() -> TempDir {
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

fn running(folder: &TempDir) -> Running {
    System::at(folder.path()).running()
}

fn image(kernel: &Kernel) -> Image {
    let bytes = build::bz_image(&build::payload(Compression::Zstd, &kernel.bytes()));
    let abi = ABI.map(str::to_string);
    image::read(&mut Cursor::new(bytes), &target::families(&abi)).unwrap()
}

/// What it hands over, if the orchestrator tells all of it.
fn abi(running: &Running) -> Abi {
    Abi::of(
        &ABI,
        &running.strings,
        || Err("it is not needed".to_owned()),
    )
}

/// The subjects of a check, besides the running kernel.
struct Plan {
    image: Result<Image, Error>,
    initrd_bytes: u64,
    command_line: &'static str,
    files: Vec<(String, Facts)>,
}

impl Plan {
    fn to(kernel: &Kernel) -> Self {
        Self {
            image: Ok(image(kernel)),
            initrd_bytes: 10 * MIB,
            command_line: "console=ttyS0 liveupdate=on",
            files: vec![],
        }
    }

    fn check(&self, running: &Running) -> Report {
        let abi = abi(running);
        report(update::checks(&Update {
            running,
            abi: &abi,
            handlers: None,
            image: self.image.as_ref(),
            initrd: Ok(Some(&Archive {
                bytes: self.initrd_bytes,
                ..Archive::default()
            })),
            command_line: self.command_line,
            missing: &[],
            shells: &[],
            files: &self.files,
        }))
    }
}

/// The names of the checks that did not go well, and that each says what to do.
fn bad(report: &Report) -> Vec<(&str, CheckStatus)> {
    let bad = report
        .checks
        .iter()
        .filter(|check| check.status != CheckStatus::Ok);
    bad.map(|check| {
        assert!(
            check.remedy.as_ref().is_some_and(|it| !it.is_empty()),
            "{check:?}"
        );
        (check.name.as_str(), check.status)
    })
    .collect()
}

fn assert_refused(report: &Report, name: &str) {
    assert!(!report.ok);
    assert_eq!(bad(report), [(name, CheckStatus::Failed)], "{report:#?}");
}

fn memfd(kind: Kind, size: u64, holes: u64) -> Facts {
    Facts {
        kind,
        object: (1, size),
        size,
        holes,
        swapped: Some(0),
        page: 4096,
        seals: 0,
        mode: 0o777,
        has_flags: false,
    }
}

#[test]
fn the_system_is_read() {
    let folder = machine();
    let running = running(&folder);
    assert_eq!(running.release.as_deref(), Ok("7.3.4-now"));
    assert_eq!(running.machine.as_deref(), Ok("x86_64"));
    assert!(running.config.as_ref().unwrap().has("LIVEUPDATE"));
    assert!(running.has_device);
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
    let second = Area {
        start: Some(0x7000_0000),
        bytes: 64 * MIB,
    };
    let areas = running.scratch.unwrap();
    assert_eq!((areas.len(), areas[1]), (3, second));
}

#[test]
fn a_system_that_says_nothing_is_not_known() {
    let folder = TempDir::new().unwrap();
    let running = running(&folder);
    assert!(!running.has_device);
    for why in [
        running.release.as_ref().unwrap_err(),
        running.memory.as_ref().unwrap_err(),
        running.scratch.as_ref().unwrap_err(),
        running.lockdown.as_ref().unwrap_err(),
        running.is_loaded.as_ref().unwrap_err(),
    ] {
        assert!(!why.is_empty());
    }
    let report = Plan::to(&Kernel::ours()).check(&running);
    assert!(!report.ok);
    let failed: Vec<_> = bad(&report)
        .into_iter()
        .filter(|(_, status)| *status == CheckStatus::Failed)
        .collect();
    assert_eq!(failed, [("running-liveupdate", CheckStatus::Failed)]);
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
fn the_least_limit_of_memory_counts() {
    let folder = machine();
    let root = folder.path();
    put(root, "sys/fs/cgroup/system.slice/memory.max", "2097152\n");
    put(
        root,
        "sys/fs/cgroup/system.slice/a.service/memory.max",
        "max\n",
    );
    put(root, "sys/fs/cgroup/b.service/memory.max", "4096\n");
    let limit = |group: &str| System::at(root).memory_limit(group);
    assert_eq!(limit("/system.slice/a.service"), Some(2 << 20));
    assert_eq!(limit("/b.service"), Some(4096));
    assert_eq!(limit("/c.service"), None);
    assert_eq!(limit("/../b.service"), None);
    assert_eq!(limit("/"), None);
}

#[test]
fn an_update_that_works_passes_all_checks() {
    let report = Plan::to(&Kernel::ours()).check(&running(&machine()));
    assert!(report.ok && bad(&report).is_empty(), "{report:#?}");
}

#[test]
fn mainlines_kernel_is_a_target_with_a_warning() {
    let mut kernel = Kernel::ours();
    kernel.strings.retain(|string| *string != "luo-contract-v1");
    let report = Plan::to(&kernel).check(&running(&machine()));
    assert!(report.ok);
    assert_eq!(bad(&report), [("target-abi", CheckStatus::Warning)]);
}

#[test]
fn a_target_without_luo_is_refused() {
    let mut kernel = Kernel::ours();
    kernel.strings = vec!["kho-v4"];
    kernel.config = None;
    let plan = Plan {
        command_line: "liveupdate=on kho=on",
        ..Plan::to(&kernel)
    };
    let report = plan.check(&running(&machine()));
    assert!(!report.ok);
    let failed = bad(&report);
    assert!(
        failed.contains(&("target-luo", CheckStatus::Failed)),
        "{report:#?}"
    );

    let mut configured_off = Kernel::ours();
    configured_off.config =
        Some("CONFIG_KEXEC_HANDOVER=y\nCONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT=y\n");
    let report = Plan::to(&configured_off).check(&running(&machine()));
    assert_refused(&report, "target-luo");
}

#[test]
fn a_target_without_kho_is_refused() {
    let mut kernel = Kernel::ours();
    kernel.strings = vec!["luo-v5", "memfd-v2", "luo-contract-v1"];
    kernel.config = None;
    let plan = Plan {
        command_line: "liveupdate=on kho=on",
        ..Plan::to(&kernel)
    };
    assert_refused(&plan.check(&running(&machine())), "target-kho");
}

#[test]
fn a_target_with_another_abi_version_is_refused() {
    for ours in ABI {
        let mut kernel = Kernel::ours();
        kernel.strings.retain(|string| *string != ours);
        let other = match ours {
            "luo-v5" => "luo-v6",
            "kho-v4" => "kho-v3",
            "memfd-v2" => "memfd-v1",
            _ => "luo-contract-v2",
        };
        kernel.strings.push(other);
        let report = Plan::to(&kernel).check(&running(&machine()));
        assert_refused(&report, "target-abi");
        let check = report
            .checks
            .iter()
            .find(|check| check.name == "target-abi");
        let found = &check.unwrap().found;
        assert!(found.contains(ours) && found.contains(other), "{found}");
    }
}

#[test]
fn what_the_running_kernel_shows_decides() {
    let folder = machine();
    let root = folder.path();
    put(root, "sys/kernel/debug/kho/out/sub_fdts/LUO", b"luo-v6\0\0");
    assert_refused(
        &Plan::to(&Kernel::ours()).check(&running(&folder)),
        "target-abi",
    );
}

#[test]
fn an_image_for_another_machine_is_refused() {
    let folder = machine();
    put(folder.path(), "proc/sys/kernel/arch", "aarch64\n");
    assert_refused(
        &Plan::to(&Kernel::ours()).check(&running(&folder)),
        "target-image",
    );
}

#[test]
fn a_file_that_is_no_image_is_refused() {
    let plan = Plan {
        image: image::read(&mut Cursor::new(b"#!/bin/sh"), &["luo"]),
        command_line: "liveupdate=on kho=on",
        ..Plan::to(&Kernel::ours())
    };
    assert_refused(&plan.check(&running(&machine())), "target-image");
}

#[test]
fn a_hugetlb_memfd_is_refused() {
    let plan = Plan {
        files: vec![("token 0x7".into(), memfd(Kind::HugeTlb, 2 * MIB, 0))],
        ..Plan::to(&Kernel::ours())
    };
    assert_refused(&plan.check(&running(&machine())), "file-kind");
}

#[test]
fn a_sparse_memfd_larger_than_memory_is_refused() {
    let size = 4096 * MIB;
    let plan = Plan {
        files: vec![("token 0x7".into(), memfd(Kind::Memfd, size, size))],
        ..Plan::to(&Kernel::ours())
    };
    let report = plan.check(&running(&machine()));
    assert!(!report.ok);
    let both = [
        ("file-memory", CheckStatus::Failed),
        ("memory", CheckStatus::Failed),
    ];
    assert_eq!(bad(&report), both);
}

#[test]
fn files_that_fit_alone_may_not_fit_together() {
    let file = |size| memfd(Kind::Memfd, size, size);
    let plan = Plan {
        files: vec![("a".into(), file(600 * MIB)), ("b".into(), file(601 * MIB))],
        ..Plan::to(&Kernel::ours())
    };
    let report = plan.check(&running(&machine()));
    assert!(!report.ok);
    let expected = [
        ("file-memory", CheckStatus::Warning),
        ("file-memory", CheckStatus::Warning),
        ("memory", CheckStatus::Failed),
    ];
    assert_eq!(bad(&report), expected);
}

#[test]
fn too_small_a_scratch_area_is_refused() {
    let folder = machine();
    let root = folder.path();
    let sizes = |sizes| put(root, "sys/kernel/debug/kho/out/scratch_len", sizes);
    // The kernel needs 20 MiB in one piece.
    sizes("0x1000000\n0x1000000\n0x1000000\n");
    let plan = Plan::to(&Kernel::ours());
    assert_refused(&plan.check(&running(&folder)), "scratch");
    // The kernel has a place, an initrd of 100 MiB has none.
    sizes("0x2000000\n0x4000000\n0x2000000\n");
    let big = Plan {
        initrd_bytes: 100 * MIB,
        ..plan
    };
    assert_refused(&big.check(&running(&folder)), "scratch");
    // All has a place, and little stays.
    sizes("0x1000000\n0x1e00000\n0x0\n");
    let report = Plan::to(&Kernel::ours()).check(&running(&folder));
    assert!(report.ok);
    assert_eq!(
        bad(&report),
        [("scratch", CheckStatus::Warning)],
        "{report:#?}"
    );
}

#[test]
fn a_command_line_without_liveupdate_is_refused() {
    let plan = Plan {
        command_line: "console=ttyS0",
        ..Plan::to(&Kernel::ours())
    };
    assert_refused(&plan.check(&running(&machine())), "target-command-line");
}

#[test]
fn a_command_line_has_room_for_what_the_loader_adds() {
    let line = |bytes: usize| {
        let start = "liveupdate=on ";
        format!("{start}{}", "x".repeat(bytes - start.len()))
    };
    let folder = machine();
    for (bytes, is_ok) in [(2016, true), (2017, false)] {
        let plan = Plan {
            command_line: line(bytes).leak(),
            ..Plan::to(&Kernel::ours())
        };
        assert_eq!(plan.check(&running(&folder)).ok, is_ok, "{bytes} bytes");
    }
}

#[test]
fn a_machine_in_the_middle_of_an_update_is_refused() {
    let folder = machine();
    put(folder.path(), "sys/kernel/liveupdate/state", "frozen\n");
    assert_refused(
        &Plan::to(&Kernel::ours()).check(&running(&folder)),
        "running-state",
    );
    // Sessions that nobody has finished keep no update from beginning: they are carried on.
    put(folder.path(), "sys/kernel/liveupdate/state", "updated\n");
    assert!(Plan::to(&Kernel::ours()).check(&running(&folder)).ok);
}

#[test]
fn an_initrd_that_is_not_there_is_refused() {
    let running = running(&machine());
    let abi = abi(&running);
    let image = image(&Kernel::ours());
    let report = report(update::checks(&Update {
        running: &running,
        abi: &abi,
        handlers: None,
        image: Ok(&image),
        initrd: Err(&Unusable {
            path: "/boot/initrd.img".to_owned(),
            why: Error::NotAFile,
        }),
        command_line: "liveupdate=on",
        missing: &[],
        shells: &[],
        files: &[],
    }));
    assert_refused(&report, "target-initrd");
}

#[test]
fn nothing_of_the_system_is_changed() {
    let folder = machine();
    let list = || {
        let mut all = vec![];
        let mut folders = vec![folder.path().to_path_buf()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let entry = entry.unwrap();
                let meta = entry.metadata().unwrap();
                if meta.is_dir() {
                    folders.push(entry.path());
                } else {
                    all.push((
                        entry.path(),
                        meta.modified().unwrap(),
                        fs::read(entry.path()).unwrap(),
                    ));
                }
            }
        }
        all.sort();
        all
    };
    let before = list();
    let _ = Plan::to(&Kernel::ours()).check(&running(&folder));
    assert_eq!(list(), before);
}

/// The formats in these tests are those that this project's orchestrator writes.
#[test]
fn the_abi_is_this_projects() {
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap();
        String::from_utf8(bytes[..end].to_vec()).unwrap()
    };
    assert_eq!(text(&luo_abi::handover::COMPATIBLE), ABI[0]);
    assert_eq!(text(&luo_abi::supplement::COMPATIBLE), ABI[3]);
}
