// SPDX-License-Identifier: MIT OR Apache-2.0
//! All checks of an update on a machine that is a tree of files.

mod build;
mod machine;
mod tree;

use std::fs;
use std::io::Cursor;
use std::path::Path;

use build::Kernel;
use luo_preflight::abi::Abi;
use luo_preflight::file::{Facts, Kind};
use luo_preflight::guest_clock;
use luo_preflight::image::{self, Compression, Error, Image};
use luo_preflight::initrd::{Archive, Unusable};
use luo_preflight::running::Running;
use luo_preflight::update::{self, Update};
use luo_preflight::{CheckStatus, Report, report, target};
use machine::{MIB, machine, running};
use tempfile::TempDir;
use tree::put;

const ABI: [&str; 4] = ["luo-v5", "kho-v4", "memfd-v2", "luo-contract-v1"];

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
    /// What the running kernel has, if it says so.
    handlers: Option<Vec<String>>,
}

impl Plan {
    fn to(kernel: &Kernel) -> Self {
        Self {
            image: Ok(image(kernel)),
            initrd_bytes: 10 * MIB,
            command_line: "console=ttyS0 liveupdate=on",
            files: vec![],
            handlers: None,
        }
    }

    fn check(&self, running: &Running) -> Report {
        let abi = abi(running);
        report(update::checks(&Update {
            running,
            abi: &abi,
            handlers: self.handlers.as_deref(),
            path: Path::new("/boot/next"),
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
        holes,
        ..Facts::plain(kind, size)
    }
}

#[test]
fn the_clocks_of_guests_are_looked_at_where_kvm_is() {
    let folder = machine();
    let root = folder.path();
    let status = |line| {
        let mut plan = Plan::to(&Kernel::ours());
        plan.command_line = line;
        let report = plan.check(&running(&folder));
        let mut checks = report.checks.into_iter();
        let check = checks.find(|check| check.name == "guest-clock");
        check.map(|check| check.status)
    };
    let line = "liveupdate=on tsc_early_khz=2400000";
    assert_eq!(status(line), None);
    put(root, "sys/module/kvm/parameters/x", "0\n");
    let source = "sys/devices/system/clocksource/clocksource0/current_clocksource";
    put(root, source, "tsc\n");
    put(
        root,
        "proc/cpuinfo",
        "processor\t: 0\nflags\t\t: fpu svm\n\n",
    );
    assert_eq!(status(line), Some(CheckStatus::Ok));
    assert_eq!(status("liveupdate=on"), Some(CheckStatus::Warning));
    put(root, guest_clock::NOTE, "2400000\n");
    let clock = running(&folder).clock;
    let line = guest_clock::handed_on(clock, "liveupdate=on");
    assert_eq!(line, "tsc_early_khz=2400000 liveupdate=on");
    put(root, "proc/cpuinfo", "flags\t\t: fpu svm tsc_scale\n");
    assert_eq!(status("liveupdate=on"), None);
}

#[test]
fn a_system_that_says_nothing_is_not_known() {
    let folder = TempDir::new().unwrap();
    let running = running(&folder);
    assert_eq!(running.has_device, Ok(false));
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
    // Neither kernel is known to take it, and each is told of.
    let report = plan.check(&running(&machine()));
    let refused = ("file-kind", CheckStatus::Failed);
    assert!(!report.ok);
    assert_eq!(bad(&report), [refused, refused], "{report:#?}");
}

#[test]
fn a_hugetlb_memfd_goes_where_both_kernels_take_it() {
    const HANDLER: &str = "luo-hugetlb-v1";
    let mut kernel = Kernel::ours();
    let status = |kernel: &Kernel, handlers: &[&str]| {
        let handlers: Vec<_> = handlers.iter().map(ToString::to_string).collect();
        let plan = Plan {
            files: vec![("token 0x7".into(), memfd(Kind::HugeTlb, 2 * MIB, 0))],
            handlers: Some(handlers),
            ..Plan::to(kernel)
        };
        plan.check(&running(&machine()))
    };
    // The target has none.
    assert_refused(&status(&kernel, &["memfd-v2", HANDLER]), "file-kind");
    kernel.strings.push(HANDLER);
    assert!(status(&kernel, &["memfd-v2", HANDLER]).ok);
    // The running kernel has none.
    assert_refused(&status(&kernel, &["memfd-v2"]), "file-kind");
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

/// A kernel that takes part, with a command line of its own.
fn with_a_line(of_its_own: &str, how: &str) -> Kernel {
    let config = format!(
        "{}CONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE=\"{of_its_own}\"\n{how}",
        build::CONFIG
    );
    Kernel {
        config: Some(config.leak()),
        ..Kernel::ours()
    }
}

#[test]
fn what_a_target_has_built_in_counts_as_what_is_named() {
    let folder = machine();
    let found = |kernel: &Kernel, line| {
        let plan = Plan {
            command_line: line,
            ..Plan::to(kernel)
        };
        let report = plan.check(&running(&folder));
        let mut bad = report.checks;
        bad.retain(|check| check.status != CheckStatus::Ok);
        bad
    };
    let kernel = with_a_line("mem=2G", "");
    let bad = found(&kernel, "liveupdate=on");
    let [hidden] = bad.as_slice() else {
        panic!("{bad:#?}");
    };
    assert_eq!(hidden.name, "target-command-line");
    assert_eq!(hidden.status, CheckStatus::Failed);
    assert!(hidden.found.contains("mem=2G hides memory"), "{hidden:?}");
    assert!(hidden.found.contains("CONFIG_CMDLINE"), "{hidden:?}");
    let remedy = hidden.remedy.as_deref().unwrap();
    assert!(remedy.contains("build the target"), "{remedy}");
    // What is named is not said to be built in.
    let bad = found(&kernel, "liveupdate=on mem=1G");
    let named = bad.iter().find(|it| it.found.contains("mem=1G")).unwrap();
    assert!(!named.found.contains("CONFIG_CMDLINE"), "{named:?}");
    // What a target does not listen to is no danger.
    let forced = with_a_line("liveupdate=on", "CONFIG_CMDLINE_OVERRIDE=y\n");
    let bad = found(&forced, "liveupdate=on mem=2G single");
    assert!(bad.is_empty(), "{bad:#?}");
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
        path: Path::new("/boot/next"),
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
