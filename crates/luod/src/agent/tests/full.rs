// SPDX-License-Identifier: MIT OR Apache-2.0
//! What luod does where there is no room for its notes, or for the history.

use std::fs;
use std::sync::Arc;
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
        assert!(refused.contains("move it away"), "{refused}");
        assert!(!world.kernel.held().contains("db.2"));
        let refused = agent.detach(&mut peer.caller).unwrap_err().to_string();
        assert!(refused.contains("move it away"), "{refused}");
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
        // An empty file system may be too small: how much it takes is said.
        assert!(check.found.contains("1024 KiB"), "{check:?}");
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
        assert!(why.contains("move it away"), "{why}");
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

/// Makes a file of the folder of the history.
fn spoil_history(world: &World) -> std::path::PathBuf {
    let state = world.agent.config().state_directory.clone();
    let _ = fs::remove_dir_all(&state);
    fs::write(&state, "").unwrap();
    state
}

/// An agent that is started after another one, with its notes.
async fn again(world: &World) -> World {
    let next = World::new(OPEN, world.kernel.clone());
    let copy = |name: &str| {
        let from = world.folder.path().join("run/state").join(name);
        let to = next.folder.path().join("run/state").join(name);
        let _ = fs::copy(from, to);
    };
    for name in ["unwritten", "update", "record"] {
        copy(name);
    }
    next.agent.start(Vec::new()).await.unwrap();
    next
}

#[test]
fn what_the_disk_does_not_take_outlives_luod() {
    run(async {
        let (world, mut peer) = with_one().await;
        let agent = &world.agent;
        spoil_history(&world);
        let prepare = agent.prepare(&world.target);
        let (done, ()) = tokio::join!(prepare, vetoes(&world, &mut peer, Step::Prepare));
        done.unwrap_err();
        let entry = agent.history().unwritten().remove(0);
        let checked = entry
            .timeline
            .iter()
            .filter_map(|line| line.detail.as_deref());
        assert!(
            checked
                .clone()
                .any(|text| text.contains("warnings:") && text.contains("history")),
            "{entry:?}"
        );
        assert!(agent.notes.update().unwrap().is_none());
        assert_eq!(agent.history().count_unwritten(), 1);
        let past = agent.past(5).await;
        assert!(past.problems[0].contains("cannot be read"), "{past:?}");
        assert_eq!(past.updates, std::slice::from_ref(&entry));

        // luod is killed, and the next finds it, whole.
        let next = again(&world).await;
        next.agent.until_written().await;
        assert!(
            next.agent.notes.unwritten().unwrap().is_empty(),
            "it is written"
        );
        assert_eq!(next.agent.past(5).await.updates, [entry]);
    });
}

#[test]
fn where_there_is_no_room_at_all_the_record_stays() {
    run(async {
        let record = record(&[("db", &["db.ram"], &[])]);
        let world = World::new(OPEN, Fake::with_incoming(&["db.ram"]));
        let agent = &world.agent;
        let bytes = record.encode(1 << 20).unwrap();
        agent.notes.set_record(Some(&bytes)).unwrap();
        agent.begin_restore(record, Progress::default());
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        agent.claim(&peer.caller, "db.ram").await.unwrap();
        agent.restored(&peer.caller).unwrap();
        fill_notes(&world);
        let state = spoil_history(&world);
        agent.finish_session(&peer.caller, "db.ram").await.unwrap();
        agent.until_written().await;
        assert_eq!(world.phase(), Phase::Normal);
        assert!(agent.notes.record().unwrap().is_some());
        let fate = agent.history().last(5);
        assert!(fate.is_err(), "{fate:?}");
        fs::remove_file(&state).unwrap();
        let past = agent.past(5).await;
        assert!(
            past.problems[0].contains("is lost if luod ends"),
            "{past:?}"
        );
    });
}

/// A folder that hangs is made of a file system that does not answer; a thread that does not
/// come back looks the same.
#[test]
fn a_disk_that_hangs_keeps_nobody_waiting() {
    run_fast(async {
        let (world, _peer) = with_one().await;
        let agent = &world.agent;
        let (gate, closed) = std::sync::mpsc::channel::<()>();
        let why = agent.fails(move || {
            let _ = closed.recv();
            Ok(())
        });
        let why = why.await.unwrap();
        assert!(why.contains("does not answer"), "{why}");
        drop(gate);
        // However often somebody asks, there are so many threads that hang, and no more.
        let trials = Arc::clone(&agent.trials);
        let _trials = trials.acquire_many(8).await.unwrap();
        let why = agent.fails(|| panic!("one thread more")).await.unwrap();
        assert!(why.contains("does not answer"), "{why}");
        // All threads that read hang.
        let readers = Arc::clone(&agent.readers);
        let _readers = readers.acquire_many(8).await.unwrap();
        let past = agent.past(5).await;
        assert!(past.problems[0].contains("does not answer"), "{past:?}");
    });
}

#[test]
fn a_disk_that_is_full_is_told_at_once() {
    run(async {
        let world = World::new(OPEN, Fake::default());
        let folder = world.agent.config().state_directory.clone();
        fs::write(&folder, "").unwrap();
        let told = warnings(&world).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("what becomes of an update cannot be written"));
        assert!(told[0].contains("move it away"), "{told:?}");
        // Whoever prepares is told what the checks have found.
        world.agent.prepare(&world.target).await.unwrap();
        let warned = world.agent.warnings_of_update();
        assert!(
            warned
                .iter()
                .all(|check| check.status == CheckStatus::Warning)
        );
        assert!(
            warned.iter().any(|check| check.name == "history"),
            "{warned:?}"
        );
        world.agent.cancel(None).await.unwrap();
        let told = warnings(&world).await;
        assert!(
            told[1].starts_with("1 update that is over could not"),
            "{told:?}"
        );
        world.agent.prepare(&world.target).await.unwrap();
        world.agent.cancel(None).await.unwrap();
        let told = warnings(&world).await;
        assert!(
            told[1].starts_with("2 updates that are over could"),
            "{told:?}"
        );
    });
}
