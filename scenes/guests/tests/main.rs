// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real guests in a real QEMU, which emulates in software, over simulated jumps.
//!
//! QEMU is `$LUO_QEMU`, or `qemu-system-x86_64`; it takes 8.2 or newer.

use luo_scenes_guests::offload;
use luo_scenes_guests::scene::Scene;
use luo_sim::system::System;
use luo_sim::{Program, Simulator};

/// The program that the machine runs at each boot.
const STAGE: &str = env!("CARGO_BIN_EXE_luo-scenes-guests");

/// Plays a scene over its jumps.
#[track_caller]
fn play(scene: &str) {
    play_by(&[], scene);
}

/// The same with words before the program's at each boot.
#[track_caller]
fn play_by(words: &[&str], scene: &str) {
    let boots = match offload::scene::Scene::find(scene) {
        Some(scene) => scene.boots,
        None => Scene::find(scene).unwrap().boots,
    };
    let qemu = std::env::var_os("LUO_QEMU").unwrap_or_else(|| "qemu-system-x86_64".into());
    // A short name: sockets lie in it.
    let folder = tempfile::Builder::new().prefix("luoq").tempdir().unwrap();
    let system = folder.path().join("system");
    System::default().write(&system).unwrap();
    let mut words = words.iter().chain(&[STAGE]);
    let program = Program::new(words.next().unwrap()).args(words).args([
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
        read("luo-qemu.log") + &read("luo-ch.log"),
        read("luod.log"),
    );
    print!("{}", outcome.output());
}

#[test]
#[ignore = "takes qemu-cpr"]
fn a_guest_goes_on_over_two_updates_and_its_ram_is_not_copied() {
    play("update");
}

#[test]
#[ignore = "takes qemu-cpr"]
fn a_veto_after_the_guest_was_stopped_lets_it_go_on() {
    play("veto");
}

#[test]
#[ignore = "takes qemu-cpr"]
fn a_qemu_that_hangs_lets_the_update_fail_and_the_guest_go_on() {
    play("hung");
}

#[test]
#[ignore = "takes qemu-cpr"]
fn a_qemu_that_is_killed_in_an_update_costs_nothing_that_stood_still() {
    play("qemu-killed");
}

#[test]
#[ignore = "takes qemu-cpr"]
fn luo_qemu_is_killed_at_each_step_before_the_jump() {
    play("kills-before");
}

#[test]
#[ignore = "takes qemu-cpr"]
fn luo_qemu_is_killed_at_each_step_after_the_jump() {
    play("kills-after");
}

#[test]
#[ignore = "takes qemu-cpr"]
fn what_cannot_survive_is_refused_before_the_jump() {
    play("refusals");
}

#[test]
#[ignore = "takes qemu-cpr"]
fn an_upgraded_qemu_that_refuses_the_state_gives_way_to_the_one_that_wrote_it() {
    play("upgraded");
}

#[test]
#[ignore = "takes qemu-cpr"]
fn each_end_of_a_guest_is_told() {
    play("ends");
}

#[test]
#[ignore = "takes qemu-cpr"]
fn a_damaged_state_is_refused_and_the_memory_stays() {
    play("damaged");
}

#[test]
fn a_guest_of_cloud_hypervisor_goes_on_over_two_updates() {
    play("ch-update");
}

#[test]
fn a_guest_of_cloud_hypervisor_that_was_handed_over_goes_on_after_a_veto() {
    play("ch-veto");
}

#[test]
fn a_cloud_hypervisor_that_refuses_the_guest_costs_nothing() {
    play("ch-refused");
}

#[test]
fn a_cloud_hypervisor_that_does_not_hand_over_has_the_update_refused() {
    play("ch-not-sent");
}

#[test]
fn luo_ch_is_killed_at_each_step_before_the_jump() {
    play("ch-kills-before");
}

#[test]
fn luo_ch_is_killed_at_each_step_after_the_jump() {
    play("ch-kills-after");
}

#[test]
#[ignore = "takes qemu-cpr"]
fn two_guests_that_talk_stand_still_together_and_go_on_talking() {
    play("pair");
}

#[test]
#[ignore = "takes qemu-cpr and root"]
fn two_guests_at_tap_devices_go_on_talking() {
    // Each boot has a network of its own.
    let mount = "mount -t sysfs sysfs /sys && exec \"$@\"";
    play_by(
        &["unshare", "--net", "--mount", "sh", "-c", mount, "sh"],
        "pair-taps",
    );
}

#[test]
#[ignore = "takes qemu-cpr"]
fn the_command_line_of_the_book_survives_as_it_stands_there() {
    play("tutorial");
}

#[test]
#[ignore = "takes qemu-cpr"]
fn a_guest_reads_after_an_update_what_it_wrote_to_its_disks_before() {
    play("disks");
}

#[test]
#[ignore = "takes qemu-cpr"]
fn a_guest_with_two_processors_goes_on_over_two_updates() {
    play("two");
}

#[test]
#[ignore = "takes qemu-cpr"]
fn a_guest_with_two_nodes_goes_on_over_two_updates() {
    play("nodes");
}

#[test]
#[ignore = "takes qemu-cpr and huge pages"]
fn a_guest_of_huge_pages_goes_on_over_two_updates() {
    play("huge");
}

#[test]
#[ignore = "takes qemu-cpr"]
fn devices_with_much_memory_of_their_own_have_room_for_it() {
    play("memory");
}
