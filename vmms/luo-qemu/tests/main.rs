// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real guests in a real QEMU, which emulates in software, over simulated jumps.
//!
//! QEMU is `$LUO_QEMU`, or `qemu-system-x86_64`; it takes 8.2 or newer.

use std::path::PathBuf;

use luo_sim::system::System;
use luo_sim::{Program, Simulator};

/// The program that the machine runs at each boot. It is built with the tests.
fn stage() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let program = own.parent().unwrap().join("../examples/luo-qemu-stage");
    assert!(program.exists(), "{} is not built", program.display());
    program
}

/// Plays a scene over its jumps.
#[track_caller]
fn play(scene: &str, boots: usize) {
    let qemu = std::env::var_os("LUO_QEMU").unwrap_or_else(|| "qemu-system-x86_64".into());
    // A short name: sockets lie in it.
    let folder = tempfile::Builder::new().prefix("luoq").tempdir().unwrap();
    let system = folder.path().join("system");
    System::default().write(&system).unwrap();
    let program = Program::new(stage()).args([
        scene.as_ref(),
        folder.path().as_os_str(),
        system.as_os_str(),
        &qemu,
    ]);
    let outcome = Simulator::new()
        .each_boot(program)
        .at_most(boots)
        .capture()
        .run()
        .unwrap();
    let read = |name| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    assert!(
        outcome.success() && outcome.boots.len() == boots,
        "{scene}: {:?}\n{}\n{}\n{}",
        outcome.ending,
        outcome.output(),
        read("luo-qemu.log"),
        read("luod.log"),
    );
    print!("{}", outcome.output());
}

#[test]
#[ignore = "takes qemu-cpr"]
fn a_guest_goes_on_over_two_updates_and_its_ram_is_not_copied() {
    play("update", 3);
}

#[test]
#[ignore = "takes qemu-cpr"]
fn a_veto_after_the_guest_was_stopped_lets_it_go_on() {
    play("veto", 2);
}

#[test]
#[ignore = "takes qemu-cpr"]
fn luo_qemu_is_killed_at_each_step_before_the_jump() {
    play("kills-before", 2);
}

#[test]
#[ignore = "takes qemu-cpr"]
fn luo_qemu_is_killed_at_each_step_after_the_jump() {
    play("kills-after", 4);
}

#[test]
#[ignore = "takes qemu-cpr"]
fn what_cannot_survive_is_refused_before_the_jump() {
    play("refusals", 1);
}

#[test]
#[ignore = "takes qemu-cpr"]
fn each_end_of_a_guest_is_told() {
    play("ends", 2);
}

#[test]
#[ignore = "takes qemu-cpr"]
fn a_damaged_state_is_refused_and_the_memory_stays() {
    play("damaged", 2);
}
