// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel fails to give the record that the previous one handed over.

use std::time::Duration;

use luo_varlink::{HistoryEntry, Orchestrator, Outcome};

use super::shelf::Cupboard;
use super::*;
use crate::decide::names::OWN_SESSION;
use crate::manager::store::Stored;

/// A kernel that has been handed over a record of one workload with one session.
fn jumped() -> Fake {
    let kernel = Fake::with_incoming(&["db.ram"]);
    let record = record(&[("db", &["db.ram"], &[])]);
    kernel.hands_over(record.encode(1 << 20).unwrap());
    kernel
}

/// Its workload gets its session.
async fn gets_it_back(world: &World) {
    let agent = &world.agent;
    let mut peer = Peer::new(1, 990);
    peer.register(world, "db", &[]).unwrap();
    let (claimed, _fd) = agent.claim(&peer.caller, "db.ram").await.unwrap();
    assert!(claimed.incoming);
}

/// What came along stays; what it has made since goes, as before an update.
#[test]
fn a_workload_that_does_not_connect_again_after_a_jump_loses_what_it_has_made_since() {
    let kernel = Fake::with_incoming(&["db.ram"]);
    let record = record(&[("db", &["db.ram"], &[])]);
    kernel.hands_over(record.encode(1 << 20).unwrap());
    let (before, session) = run(async {
        let world = World::new(OPEN, kernel.clone());
        world.agent.start(Vec::new()).await.unwrap();
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        let made = world.agent.create_session(&peer.caller, "db.new").await;
        (world, luo_sys::Session::from_fd(made.unwrap()))
    });
    // luod and the workload are killed, and only luod is started again.
    run_fast(async {
        let next = World::new(OPEN, kernel.clone());
        next.takes_notes_of(&before);
        drop(before);
        let stored = Stored {
            name: "db.new".into(),
            session: session.into(),
            is_it: true,
        };
        next.agent.start(vec![stored]).await.unwrap();
        assert_eq!(next.phase(), Phase::Updated);
        let is_kept = || next.agent.state.borrow().sessions.get("db.new").is_some();
        tokio::time::sleep(Duration::from_secs(29)).await;
        assert!(is_kept());
        tokio::time::sleep(Duration::from_secs(2)).await;
        until(|| !is_kept() && !kernel.held().contains("db.new")).await;
        assert!(kernel.incoming().contains("db.ram"));
        comes_back(&next).await;
        assert_eq!(next.phase(), Phase::Normal);
    });
}

#[test]
fn a_call_that_fails_for_a_moment_is_made_again() {
    for call in ["RETRIEVE_SESSION", "RETRIEVE_FD"] {
        run_fast(async {
            let kernel = jumped();
            kernel.refuse_times(call, 3);
            let world = World::new(OPEN, kernel);
            world.agent.start(Vec::new()).await.unwrap();
            assert_eq!(world.agent.unreadable(), None, "{call}");
            gets_it_back(&world).await;
        });
    }
}

#[test]
fn one_that_fails_for_long_is_made_again_and_nobody_is_let_in_before() {
    for call in ["RETRIEVE_SESSION", "RETRIEVE_FD"] {
        run_fast(async {
            let kernel = jumped();
            kernel.refuse_times(call, 20);
            let world = World::new(OPEN, kernel.clone());
            let agent = &world.agent;
            agent.start(Vec::new()).await.unwrap();
            let told = agent.unreadable().unwrap();
            assert!(told.contains("luod tries again every 10 s"), "{told}");
            let mut peer = Peer::new(7, 990);
            peer.register(&world, "db", &[]).unwrap_err();
            agent
                .until(|agent| agent.state.borrow().unreadable.is_none())
                .await;
            tokio::time::resume();
            gets_it_back(&world).await;
            // It is in the notes.
            until(|| !kernel.has_record()).await;
        });
    }
}

/// What the store has is attached to what the record lists, as after any start.
#[test]
fn what_the_store_has_is_its_workloads_once_the_record_is_read() {
    run_fast(async {
        let kernel = jumped();
        kernel.refuse_times("RETRIEVE_FD", 20);
        let stored = Stored {
            name: "db.ram".into(),
            session: kernel.retrieve("db.ram").unwrap().into(),
            is_it: true,
        };
        let world = World::new(OPEN, kernel.clone());
        let agent = &world.agent;
        agent.start(vec![stored]).await.unwrap();
        agent
            .until(|agent| agent.state.borrow().unreadable.is_none())
            .await;
        assert!(kernel.held().contains("db.ram"));
        tokio::time::resume();
        gets_it_back(&world).await;
        assert!(
            agent
                .plan()
                .obstacles
                .iter()
                .all(|it| !it.contains("note of whose"))
        );
    });
}

#[test]
fn a_record_that_was_not_read_outlives_luod() {
    let kernel = jumped();
    let store = Cupboard::default();
    kernel.refuse_times("RETRIEVE_FD", 5);
    run_fast(async {
        let shelf = Store::of(store.clone());
        let world = World::with_store(OPEN, kernel.clone(), "", shelf);
        world.agent.start(Vec::new()).await.unwrap();
        assert!(world.agent.unreadable().is_some());
    });
    // That luod is gone, and the next one gets what the store has.
    let session = store.take().expect("nobody has the record's session");
    run_fast(async {
        let stored = Stored {
            name: OWN_SESSION.into(),
            session: luo_sys::Session::from_fd(session).into(),
            is_it: true,
        };
        let shelf = Store::of(store.clone());
        let world = World::with_store(OPEN, kernel.clone(), "", shelf);
        world.agent.start(vec![stored]).await.unwrap();
        assert_eq!(world.agent.unreadable(), None);
        gets_it_back(&world).await;
        until(|| !kernel.has_record()).await;
    });
}

/// luod is killed between the kernel's answer and its own notes of it, or when the first of those
/// notes was made.
#[test]
fn a_record_outlives_a_luod_that_is_killed_while_it_reads_it() {
    for has_progress in [false, true] {
        let kernel = jumped();
        let store = Cupboard::default();
        let mut kept = None;
        run(async {
            let gate = kernel.hangs_in("RETRIEVE_FD");
            let shelf = Store::of(store.clone());
            let world = World::with_store(OPEN, kernel.clone(), "", shelf);
            let agent = Rc::clone(&world.agent);
            let starting = tokio::task::spawn_local(async move { agent.start(Vec::new()).await });
            until(|| kernel.is_in("RETRIEVE_FD")).await;
            kept = store.take();
            starting.abort();
            drop(gate);
        });
        let session = kept.expect("nobody has the record's session");
        run_fast(async {
            let stored = Stored {
                name: OWN_SESSION.into(),
                session: luo_sys::Session::from_fd(session).into(),
                is_it: true,
            };
            let world = World::new(OPEN, kernel.clone());
            if has_progress {
                let notes = &world.agent.notes;
                notes.set_progress(&Progress::default()).unwrap();
            }
            world.agent.start(vec![stored]).await.unwrap();
            assert_eq!(world.agent.unreadable(), None);
            tokio::time::resume();
            gets_it_back(&world).await;
            until(|| !kernel.has_record()).await;
        });
    }
}

/// What luod says of the record when it ends is true: the supervisor has it, and ends, too.
#[test]
fn a_record_that_was_not_read_is_told_as_what_goes_with_luod() {
    run_fast(async {
        let kernel = jumped();
        kernel.refuse_times("RETRIEVE_FD", 20);
        let shelf = Store::with_room(Cupboard::default(), 0);
        let world = World::with_store(OPEN, kernel.clone(), "", shelf);
        let agent = &world.agent;
        agent.start(Vec::new()).await.unwrap();
        let (words, remedy) = agent.unkept().unwrap();
        assert!(words.contains("the previous kernel's record"), "{words}");
        assert!(remedy.contains("before the record is read"), "{remedy}");
        let gone = agent.gone_with_luod();
        assert!(gone.concat().contains("the previous kernel's record"));
        agent
            .until(|agent| agent.state.borrow().unreadable.is_none())
            .await;
        tokio::time::resume();
        until(|| !kernel.has_record()).await;
        until(|| agent.gone_with_luod().is_empty()).await;
        assert_eq!(agent.unkept(), None);
    });
}

/// Nobody says that nothing came along where the kernel has it.
#[test]
fn an_update_whose_record_is_gone_is_not_lost_with_all_that_came_along() {
    for came in [&[][..], &["db.ram"]] {
        run(async {
            let kernel = Fake::with_incoming(came);
            kernel.lists_incoming();
            let world = World::new(OPEN, kernel);
            let agent = &world.agent;
            std::fs::create_dir_all(&agent.config().state_directory).unwrap();
            let line = HistoryEntry {
                update: "u-1".into(),
                outcome: Outcome::UnderWay,
                reason: Some("it is jumping".into()),
                began_us: 1,
                took_us: Some(1),
                blackout_us: None,
                from_kernel: "a".into(),
                to_kernel: "a".into(),
                timeline: vec![luo_varlink::TimelineEvent {
                    update: "u-1".into(),
                    time_us: 1,
                    phase: Phase::Jumping,
                    kind: luo_varlink::TimelineKind::Phase,
                    workload: None,
                    took_us: None,
                    detail: None,
                }],
            };
            let mut line = serde_json::to_value(&line).unwrap();
            line["boot"] = "another".into();
            let path = agent.config().state_directory.join("history.jsonl");
            std::fs::write(path, format!("{line}\n")).unwrap();
            assert_eq!(agent.probe.orchestrator, Orchestrator::Contract);
            agent.start(Vec::new()).await.unwrap();
            agent.until_written().await;
            let told = agent.past(1).await.updates.remove(0);
            let reason = told.reason.unwrap();
            match came {
                [] => assert_eq!(told.outcome, Outcome::Lost, "{reason}"),
                _ => {
                    assert_eq!(told.outcome, Outcome::Incomplete, "{reason}");
                    assert!(reason.contains("db.ram"), "{reason}");
                }
            }
        });
    }
}
