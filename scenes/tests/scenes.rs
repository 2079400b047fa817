// SPDX-License-Identifier: MIT OR Apache-2.0
//! All scenes in the simulator.

use luo_scenes::scene::{self, SCENES, Victim};
use luo_sim::system::System;
use luo_sim::{Program, Simulator};

/// Runs a scene over its jump.
#[track_caller]
fn play(name: &str) {
    let folder = std::env::temp_dir().join(format!("luo-scenes-{}-{name}", std::process::id()));
    let system = folder.join("system");
    System::default().write(&system).unwrap();
    let program = Program::new(env!("CARGO_BIN_EXE_luo-scenes")).args([
        name.as_ref(),
        folder.as_os_str(),
        system.as_os_str(),
    ]);
    let outcome = Simulator::new()
        .each_boot(program)
        .at_most(2)
        .capture()
        .run()
        .unwrap();
    let log = std::fs::read_to_string(folder.join("luod.log")).unwrap_or_default();
    let passed = outcome.success() && outcome.boots.len() == 2;
    let _ = std::fs::remove_dir_all(&folder);
    assert!(
        passed,
        "{name}: {:?}\n{}\n{log}",
        outcome.ending,
        outcome.output()
    );
}

#[test]
fn an_update_takes_all_along() {
    play("update");
}

#[test]
fn a_veto_undoes_all_and_everything_runs_on() {
    play("veto");
}

#[test]
fn a_hung_workload_undoes_all_and_everything_runs_on() {
    play("hung");
}

#[test]
fn who_preserves_more_than_the_policy_allows_is_refused() {
    play("excess");
}

#[test]
fn an_administrator_can_cancel() {
    play("cancel");
}

#[test]
fn what_nobody_claims_is_released_at_the_deadline() {
    play("unclaimed");
}

#[test]
fn what_nobody_claims_is_kept_if_so_configured() {
    play("kept");
}

#[test]
fn who_serves_again_after_the_deadline_has_lost_nothing() {
    play("late");
}

/// It takes root to become somebody else (`--include-ignored`); the virtual machine runs it always.
#[test]
#[ignore = "takes root"]
fn another_identity_gets_nothing() {
    play("identity");
}

/// All points at which one of them is killed.
fn kill(victim: Victim) {
    let mut count = 0;
    for kill in scene::combinations().filter(|kill| kill.victim == victim) {
        play(&kill.to_string());
        count += 1;
    }
    assert!(count >= 6, "{count} points only");
}

#[test]
fn luod_is_killed_at_every_point() {
    kill(Victim::Agent);
}

#[test]
fn the_cache_is_killed_at_every_point() {
    kill(Victim::Member("cache"));
}

#[test]
fn web_is_killed_at_every_point() {
    kill(Victim::Member("web"));
}

#[test]
fn the_batch_is_killed_at_every_point() {
    kill(Victim::Member("batch"));
}

#[test]
fn each_scene_has_a_test() {
    let text = include_str!("scenes.rs");
    for scene in SCENES {
        assert!(
            text.contains(&format!("play({:?})", scene.name)),
            "{}",
            scene.name
        );
    }
}
