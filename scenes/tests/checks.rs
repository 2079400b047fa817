// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl check` refuses what would fail, `luoctl update` then changes nothing, and
//! both say what to do. In the simulator, with files of a made-up machine.

use std::path::Path;

use luo_sim::system::System;
use luo_sim::{Program, Simulator};

/// A machine of which a check must fail.
#[track_caller]
fn refuses(check: &str, system: &System) {
    plays(Simulator::new(), &format!("check-{check}"), system);
}

/// A scene that has to go well on a machine.
#[track_caller]
fn plays(simulator: Simulator, scene: &str, system: &System) {
    let check = scene;
    let folder = std::env::temp_dir().join(format!("luo-checks-{}-{check}", std::process::id()));
    let made_up = folder.join("system");
    system.write(&made_up).unwrap();
    let program = Program::new(env!("CARGO_BIN_EXE_luo-scenes")).args([
        Path::new(scene),
        folder.as_path(),
        made_up.as_path(),
    ]);
    let outcome = simulator.boot(program).capture().run().unwrap();
    let _ = std::fs::remove_dir_all(&folder);
    assert!(
        outcome.success(),
        "{check}: {:?}\n{}",
        outcome.ending,
        outcome.output()
    );
}

fn knows(abi: &[&str]) -> System {
    System {
        abi: abi.iter().map(|&text| text.to_owned()).collect(),
        ..System::default()
    }
}

#[test]
fn a_target_without_luo() {
    refuses("target-luo", &knows(&["kho-v4"]));
}

#[test]
fn a_target_with_another_abi() {
    let other = ["luo-v6", "luo-contract-v1", "kho-v4", "memfd-v2"];
    refuses("target-abi", &knows(&other));
}

#[test]
fn too_small_a_scratch_area() {
    let small = System {
        scratch: 4 << 20,
        ..System::default()
    };
    refuses("scratch", &small);
}

#[test]
fn a_hugetlb_memfd() {
    let simulator = Simulator::new().mainlines_memfds();
    plays(simulator, "check-file-kind", &System::default());
}

/// Where mainline's handler fills its holes.
#[test]
fn a_sparse_memfd_larger_than_memory() {
    let simulator = Simulator::new().mainlines_memfds();
    plays(simulator, "check-file-memory", &System::default());
}

#[test]
fn a_memfd_that_a_target_of_mainlines_seals() {
    refuses("file-seals", &System::mainline());
}

/// Nothing is said against what comes back as it was: the kernels have this project's handler.
#[test]
fn what_comes_back_as_it_was_is_no_obstacle() {
    plays(Simulator::new(), "comes-back", &System::default());
}
