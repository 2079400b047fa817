// SPDX-License-Identifier: MIT OR Apache-2.0
//! What luod does where there is no room for its notes, or for the history.

use std::fs;
use std::time::Duration;

use luo_varlink::admin::Error as Refusal;
use luo_varlink::{CheckStatus, WorkloadState};

use super::*;

/// Where notes are made before they are whole.
fn unfinished(world: &World) -> std::path::PathBuf {
    world.folder.path().join("run/state/.new")
}

/// Keeps all notes from being written.
fn fill_notes(world: &World) {
    fs::create_dir(unfinished(world)).unwrap();
}

fn make_room(world: &World) {
    fs::remove_dir(unfinished(world)).unwrap();
}

#[test]
fn what_cannot_be_noted_is_not_promised() {
    run(async {
        let (world, mut peer) = with_one().await;
        let agent = &world.agent;
        fill_notes(&world);
        let refused = agent.create_session(&peer.caller, "db.2").await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("make room there"), "{refused}");
        assert!(!world.kernel.held().contains("db.2"));
        let refused = agent.detach(&mut peer.caller).unwrap_err().to_string();
        assert!(refused.contains("make room there"), "{refused}");
        // It is a workload still, and has its session.
        let state = agent.status().await.workloads.remove(0).state;
        assert_eq!(state, WorkloadState::Running);
        let refused = agent.prepare(&world.target).await.unwrap_err();
        assert!(matches!(refused, Refusal::Kernel { .. }), "{refused}");
        assert_eq!(world.phase(), Phase::Normal);
        assert!(peer.inbox.take().is_none(), "nobody was asked");

        make_room(&world);
        agent.create_session(&peer.caller, "db.2").await.unwrap();
        agent.detach(&mut peer.caller).unwrap();
        let owners = agent.notes.owners().unwrap();
        assert!(owners[0].left && owners[0].parked == ["db.2", "db.ram"]);
    });
}

#[test]
fn that_there_is_no_room_for_notes_is_found_out_before() {
    run(async {
        let world = World::new(OPEN, Fake::default());
        let reserve = world.folder.path().join("run/state/.reserve");
        fs::remove_file(&reserve).unwrap();
        std::os::unix::fs::symlink("/dev/full", &reserve).unwrap();
        let report = world.agent.check_target(&world.target).await;
        let mut checks = report.checks.iter();
        let check = checks.find(|check| check.name == "notes").unwrap();
        assert_eq!(check.status, CheckStatus::Failed);
        assert!(!report.ok);
        // What was tried is gone, and there is room again.
        let report = world.agent.check_target(&world.target).await;
        assert!(report.checks.iter().all(|check| check.name != "notes"));
    });
}

#[test]
fn a_jump_that_cannot_be_noted_is_refused() {
    run_fast(async {
        let (world, _peer) = frozen_in(World::with_manager(Fake::default())).await;
        fill_notes(&world);
        let why = world.agent.jump().await.to_string();
        assert!(why.contains("make room there"), "{why}");
        assert_eq!(world.kernel.jumps(), 0);
        assert_eq!(world.phase(), Phase::Normal);
    });
}

#[test]
fn the_kernels_record_stays_until_it_is_noted() {
    run_fast(async {
        let kernel = Fake::with_incoming(&["db.ram"]);
        kernel.hands_over(record(&[("db", &["db.ram"], &[])]).encode(1 << 20).unwrap());
        let world = World::new(OPEN, kernel.clone());
        let agent = &world.agent;
        fill_notes(&world);
        agent.start(Vec::new()).await.unwrap();
        assert_eq!(world.phase(), Phase::Updated);
        assert!(kernel.has_record(), "a restart of luod would find none");
        make_room(&world);
        let has_record = || kernel.has_record();
        while has_record() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!(agent.notes.record().unwrap().is_some());
        assert_eq!(world.phase(), Phase::Updated);
    });
}
