// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a program leaves behind that runs once.

use std::time::Duration;

use luo_varlink::{Outcome, WorkloadState};

use super::*;
use crate::manager::store::Stored;

/// A world in which a workload has left its session while no update was under way.
async fn parked() -> World {
    let (world, mut peer) = with_one().await;
    world.agent.detach(&mut peer.caller).unwrap();
    world
}

fn state(world: &World) -> Option<WorkloadState> {
    let state = world.agent.state.borrow();
    state.workloads.get("db").map(|workload| workload.state)
}

/// The record that it leaves.
async fn frozen_record() -> Record {
    let world = parked().await;
    world.agent.prepare(&world.target).await.unwrap();
    world.agent.freeze().await.unwrap();
    Record::decode(&world.kernel.record()).unwrap()
}

/// Whoever leaves sessions without end is refused more of them, and nobody else is.
#[test]
fn a_user_who_leaves_sessions_without_end_keeps_nobody_out() {
    run(async {
        let policy = format!("[limits]\nuser_sessions = 20\n{OPEN}");
        let world = World::new(&policy, Fake::default());
        let agent = &world.agent;
        let leaves = async |number: u64, uid| {
            let name = format!("s{number}");
            let mut peer = Peer::new(number, uid);
            peer.register(&world, &name, &[])?;
            drop(agent.create_session(&peer.caller, &name).await?);
            agent.detach(&mut peer.caller)
        };
        let mut left = 0;
        let limit = loop {
            match leaves(left, 990).await {
                Ok(()) => left += 1,
                Err(Error::TooMany { limit }) => break limit,
                Err(why) => panic!("{why}"),
            }
        };
        assert_eq!(left, 20);
        assert!(limit.contains("20 sessions of user 990"), "{limit}");
        leaves(100, 991).await.unwrap();
        leaves(101, 0).await.unwrap();
        // Connections of one that has no sessions count, too.
        let mut refused = None;
        let mut peers = Vec::new();
        for number in 200..11_000 {
            let mut peer = Peer::new(number, 990);
            match peer.register(&world, &format!("p{number}"), &[]) {
                Ok(()) => peers.push(peer),
                Err(why) => {
                    refused = Some(why);
                    break;
                }
            }
        }
        let refused = refused.unwrap().to_string();
        assert!(refused.contains("1024 workloads of user 990"), "{refused}");
        leaves(102, 0).await.unwrap();
        leaves(103, 991).await.unwrap();
    });
}

#[test]
fn it_goes_through_updates_and_nobody_waits_for_it() {
    run_fast(async {
        let record = frozen_record().await;
        assert_eq!(record.participants[0].parked, ["db.ram"]);
        let kernel = Fake::with_incoming(&["db.ram"]);
        let world = World::with(OPEN, kernel, "restore_deadline = 5|");
        let agent = &world.agent;
        agent.begin_restore(record, Progress::default());
        agent.watch_the_deadline();
        agent.end_if_over();
        assert_eq!(world.phase(), Phase::Normal, "there is nobody to wait for");
        let newest = agent.history().last(1).unwrap().updates.remove(0);
        assert_eq!(newest.outcome, Outcome::Completed);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(world.kernel.incoming().contains("db.ram"), "it is kept");
        assert!(agent.plan().obstacles.is_empty());

        // The next update has it, too.
        agent.prepare(&world.target).await.unwrap();
        agent.freeze().await.unwrap();
        let record = Record::decode(&world.kernel.record()).unwrap();
        assert_eq!(record.participants[0].parked, ["db.ram"]);
        agent.cancel(None).await.unwrap();

        let mut peer = Peer::new(9, 991);
        let refused = peer.register(&world, "db", &[]).unwrap_err();
        assert!(matches!(refused, Error::Denied { .. }), "{refused}");
        let mut peer = Peer::new(10, 990);
        peer.register(&world, "db", &[]).unwrap();
        let (claimed, _) = agent.claim(&peer.caller, "db.ram").await.unwrap();
        assert!(claimed.incoming);
        agent.restored(&peer.caller).unwrap();
        let refused = agent.detach(&mut peer.caller).unwrap_err();
        assert!(refused.to_string().contains("finish it"), "{refused}");
        agent.finish_session(&peer.caller, "db.ram").await.unwrap();
        agent.detach(&mut peer.caller).unwrap();
        assert_eq!(state(&world), None, "it has left nothing");
    });
}

/// A program that takes back what was left does not end because an update begins meanwhile.
#[test]
fn who_has_not_agreed_to_an_update_may_finish_in_it() {
    run(async {
        let record = frozen_record().await;
        let world = World::new(OPEN, Fake::with_incoming(&["db.ram"]));
        let agent = &world.agent;
        agent.begin_restore(record, Progress::default());
        agent.end_if_over();
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        agent.claim(&peer.caller, "db.ram").await.unwrap();
        let preparing = prepares(&world);
        let event = peer.heard().await;
        agent.finish_session(&peer.caller, "db.ram").await.unwrap();
        assert!(world.kernel.finished().contains("db.ram"));
        answers(&world, &peer, &event, Step::Prepare, None);
        preparing.await.unwrap().unwrap();
        let refused = agent.finish_session(&peer.caller, "db.ram").await;
        let refused = refused.unwrap_err();
        assert!(matches!(refused, Error::UpdateUnderWay { .. }), "{refused}");
    });
}

#[test]
fn luod_that_is_started_again_knows_of_it() {
    run(async {
        let record = frozen_record().await;
        let world = World::new(OPEN, Fake::with_incoming(&["db.ram"]));
        let agent = &world.agent;
        agent.begin_restore(record, Progress::default());
        agent.end_if_over();
        // One that has not looked at it yet notes nothing else of the workload.
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        agent.disconnected(&mut peer.caller);
        assert_eq!(state(&world), Some(WorkloadState::Left));

        let owners = agent.notes.owners().unwrap();
        let again = World::new(OPEN, world.kernel.clone());
        again.agent.notes.set_owner(&owners[0]).unwrap();
        again.agent.start(Vec::new()).await.unwrap();
        assert_eq!(state(&again), Some(WorkloadState::Left));
        again.agent.release("db.ram").await.unwrap();
        assert!(world.kernel.finished().contains("db.ram"));
        assert_eq!(state(&again), None);
    });
}

#[test]
fn who_comes_back_and_does_not_claim_it_loses_nothing() {
    run(async {
        let world = parked().await;
        let agent = &world.agent;
        for connection in 2..4 {
            let mut peer = Peer::new(connection, 990);
            peer.register(&world, "db", &[]).unwrap();
            agent.disconnected(&mut peer.caller);
            assert!(world.kernel.held().contains("db.ram"));
            assert_eq!(state(&world), Some(WorkloadState::Left));
        }
        // A claimer has not said yet what becomes of it.
        let mut peer = Peer::new(8, 990);
        peer.register(&world, "db", &[]).unwrap();
        agent.claim(&peer.caller, "db.ram").await.unwrap();
        drop(agent.create_session(&peer.caller, "db.2").await.unwrap());
        agent.disconnected(&mut peer.caller);
        until(|| world.kernel.held() == ["db.ram".to_owned()].into()).await;
        assert_eq!(state(&world), Some(WorkloadState::Left));
        assert_eq!(agent.notes.owners().unwrap()[0].parked, ["db.ram"]);
    });
}

#[test]
fn a_claimer_that_says_what_becomes_of_it_is_a_workload_as_any_other() {
    run(async {
        // It is given up,
        for is_dropped in [true, false] {
            let world = parked().await;
            let agent = &world.agent;
            let mut peer = takes(&world, 2).await;
            match is_dropped {
                true => agent.drop_session(&peer.caller, "db.ram").await.unwrap(),
                false => agent.unregister(&mut peer.caller).unwrap(),
            }
            until(|| world.kernel.held().is_empty()).await;
        }
        // or goes through updates with its claimer from here on.
        let world = parked().await;
        let agent = &world.agent;
        let mut peer = takes(&world, 2).await;
        let prepare = agent.prepare(&world.target);
        let (done, ()) = tokio::join!(prepare, agrees(&world, &mut peer, Step::Prepare));
        done.unwrap();
        assert!(agent.notes.owners().unwrap()[0].parked.is_empty());
        let freeze = agent.freeze();
        let (done, ()) = tokio::join!(freeze, agrees(&world, &mut peer, Step::Freeze));
        done.unwrap();
        let record = Record::decode(&world.kernel.record()).unwrap();
        assert!(!record.participants[0].is_parked());
        agent.cancel(None).await.unwrap();
        agent.disconnected(&mut peer.caller);
        until(|| world.kernel.held().is_empty()).await;
        assert_eq!(state(&world), None);
    });
}

/// A workload leaves in an update that is cancelled then, by an administrator or by the end of
/// luod. It may come back, and end before it has said what it wants.
#[test]
fn what_was_left_in_an_update_that_is_off_is_kept_as_well() {
    run(async {
        for is_killed in [false, true] {
            let (world, mut peer) = prepared().await;
            world.agent.detach(&mut peer.caller).unwrap();
            let world = match is_killed {
                true => again(&world, &["db.ram"]).await,
                false => {
                    world.agent.cancel(None).await.unwrap();
                    world
                }
            };
            for connection in 2..4 {
                let mut peer = takes(&world, connection).await;
                world.agent.disconnected(&mut peer.caller);
                assert_eq!(state(&world), Some(WorkloadState::Left), "{is_killed}");
            }
        }
        // One that goes on has its workload waited for after the jump.
        let (world, mut peer) = prepared().await;
        world.agent.detach(&mut peer.caller).unwrap();
        world.agent.freeze().await.unwrap();
        let record = Record::decode(&world.kernel.record()).unwrap();
        assert!(!record.participants[0].is_parked());
    });
}

#[test]
fn what_is_nobodys_here_is_released_by_force_only() {
    run(async {
        let world = World::new(OPEN, Fake::with_incoming(&["svc"]));
        let agent = &world.agent;
        assert!(agent.release_or_force("svc", false).await.is_err());
        assert!(world.kernel.incoming().contains("svc"));
        agent.release_or_force("svc", true).await.unwrap();
        assert!(world.kernel.finished().contains("svc"));
        assert!(agent.release_or_force("svc", true).await.is_err());
    });
}

#[test]
fn an_administrator_releases_it() {
    run(async {
        let world = parked().await;
        world.agent.release("db.ram").await.unwrap();
        until(|| world.kernel.held().is_empty()).await;
        assert_eq!(state(&world), None);
    });
}

/// luod is killed, and the next one finds its notes, and in the descriptor store the kernel's
/// copies of `stored`.
async fn again(world: &World, stored: &[&str]) -> World {
    let next = World::with(OPEN, world.kernel.clone(), "restore_deadline = 5|");
    let (from, to) = (world.folder.path(), next.folder.path());
    let (from, to) = (from.join("run/state"), to.join("run/state"));
    for name in ["record", "progress"] {
        let _ = std::fs::copy(from.join(name), to.join(name));
    }
    for note in std::fs::read_dir(from.join("workloads")).unwrap() {
        let note = note.unwrap();
        std::fs::copy(note.path(), to.join("workloads").join(note.file_name())).unwrap();
    }
    let copies = stored.iter().map(|name| {
        let state = world.agent.state.borrow();
        let session = state.sessions.get(name).unwrap().session.as_ref();
        Stored {
            name: (*name).to_owned(),
            session: session.unwrap().try_clone().unwrap().into(),
            is_it: true,
        }
    });
    let copies: Vec<_> = copies.collect();
    next.agent.start(copies).await.unwrap();
    next
}

/// A world behind the jump that was handed a record, as luod starts in it.
async fn jumped(record: &Record, sessions: &[&str]) -> World {
    let kernel = Fake::with_incoming(sessions);
    kernel.hands_over(record.encode(1 << 20).unwrap());
    let world = World::with(OPEN, kernel, "restore_deadline = 5|");
    world.agent.start(Vec::new()).await.unwrap();
    world
}

async fn takes(world: &World, connection: u64) -> Peer {
    let mut peer = Peer::new(connection, 990);
    peer.register(world, "db", &[]).unwrap();
    let agent = &world.agent;
    agent.claim(&peer.caller, "db.ram").await.unwrap();
    peer
}

#[test]
fn every_luod_that_is_started_after_the_jump_knows_of_it() {
    run_fast(async {
        let record = frozen_record().await;
        let mut world = jumped(&record, &["db.ram"]).await;
        for _ in 0..3 {
            assert_eq!(world.phase(), Phase::Normal);
            assert_eq!(state(&world), Some(WorkloadState::Left));
            world.agent.until_written().await;
            assert!(world.agent.notes.record().unwrap().is_none());
            let mut other = Peer::new(1, 991);
            assert!(other.register(&world, "db", &[]).is_err());
            world = again(&world, &[]).await;
        }
        let peer = takes(&world, 2).await;
        let agent = &world.agent;
        agent.finish_session(&peer.caller, "db.ram").await.unwrap();
        assert!(agent.notes.owners().unwrap().is_empty());
    });
}

#[test]
fn it_is_known_in_each_phase_after_the_jump() {
    run_fast(async {
        let mut record = frozen_record().await;
        let mut waits = super::record(&[("web", &["web"], &[])]);
        record.participants.append(&mut waits.participants);
        let world = jumped(&record, &["db.ram", "web"]).await;
        assert_eq!(world.phase(), Phase::Updated);
        let world = again(&world, &[]).await;
        assert_eq!(world.phase(), Phase::Updated);
        assert_eq!(state(&world), Some(WorkloadState::Left));
        // web does not come back, and is released at the deadline.
        tokio::time::sleep(Duration::from_secs(7)).await;
        until(|| world.phase() == Phase::Normal).await;
        // The luod before this one runs still, and may have been the first to take it.
        until(|| world.kernel.finished() == ["web".to_owned()].into()).await;
        world.agent.until_written().await;
        let world = again(&world, &[]).await;
        assert_eq!(world.phase(), Phase::Normal);
        assert_eq!(state(&world), Some(WorkloadState::Left));
        assert!(world.agent.plan().obstacles.is_empty());
    });
}

#[test]
fn who_has_left_a_part_and_is_missing_has_left() {
    run_fast(async {
        let mut record = frozen_record().await;
        record.participants[0].sessions.push("db.log".to_owned());
        let world = jumped(&record, &["db.ram", "db.log"]).await;
        assert_eq!(state(&world), Some(WorkloadState::Waiting));
        tokio::time::sleep(Duration::from_secs(7)).await;
        until(|| world.phase() == Phase::Normal).await;
        assert_eq!(world.kernel.finished(), ["db.log".to_owned()].into());
        assert_eq!(state(&world), Some(WorkloadState::Left));
        assert!(world.agent.plan().obstacles.is_empty());
        world.agent.until_written().await;
        let world = again(&world, &[]).await;
        assert_eq!(state(&world), Some(WorkloadState::Left));
    });
}

#[test]
fn an_update_does_not_end_before_it_is_noted() {
    run_fast(async {
        let record = frozen_record().await;
        let kernel = Fake::with_incoming(&["db.ram"]);
        kernel.hands_over(record.encode(1 << 20).unwrap());
        let world = World::new(OPEN, kernel);
        let agent = &world.agent;
        let full = world.folder.path().join("run/state/.new");
        std::fs::create_dir(&full).unwrap();
        agent.start(Vec::new()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(world.phase(), Phase::Updated);
        std::fs::remove_dir(&full).unwrap();
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(world.phase(), Phase::Normal);
        assert_eq!(agent.notes.owners().unwrap()[0].parked, ["db.ram"]);
    });
}

#[test]
fn what_could_not_be_taken_back_stays_in_custody() {
    run_fast(async {
        let record = frozen_record().await;
        let mut world = jumped(&record, &["db.ram"]).await;
        for connection in 1..4 {
            let mut peer = takes(&world, connection).await;
            let refused = world.agent.detach(&mut peer.caller).unwrap_err();
            assert!(refused.to_string().contains("finish it"), "{refused}");
            world.agent.disconnected(&mut peer.caller);
            assert_eq!(state(&world), Some(WorkloadState::Left));
            assert!(world.kernel.finished().is_empty());
            // The kernel carries on only what nobody has taken from it.
            let obstacles = world.agent.plan().obstacles;
            assert!(obstacles[0].contains("`luoctl take`"), "{obstacles:?}");
            assert_eq!(obstacles.len(), 1);
            world = again(&world, &["db.ram"]).await;
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert!(world.kernel.held().contains("db.ram"));
            assert_eq!(state(&world), Some(WorkloadState::Left));
        }
        let peer = takes(&world, 9).await;
        let agent = &world.agent;
        agent.restored(&peer.caller).unwrap();
        agent.finish_session(&peer.caller, "db.ram").await.unwrap();
        assert!(agent.plan().obstacles.is_empty());
    });
}

#[test]
fn what_a_workload_has_claimed_is_its_own_over_a_restart() {
    run_fast(async {
        let two: &[(&str, &[&str], &[&str])] = &[("db", &["db.ram"], &[]), ("web", &["web"], &[])];
        let world = jumped(&super::record(two), &["db.ram", "web"]).await;
        let peer = takes(&world, 1).await;
        world.agent.restored(&peer.caller).unwrap();
        drop(
            world
                .agent
                .create_session(&peer.caller, "db.2")
                .await
                .unwrap(),
        );
        // Restoring, with db connected no more, and web waited for.
        let world = again(&world, &["db.ram", "db.2"]).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        until(|| world.phase() == Phase::Normal).await;
        // The luod before this one runs still, and may have been the first to take it.
        until(|| world.kernel.finished() == ["web".to_owned()].into()).await;
        assert!(world.agent.state.borrow().sessions.get("db.2").is_none());
        assert_eq!(state(&world), Some(WorkloadState::Waiting));
        world.agent.until_written().await;
        // The update is over, and db is late.
        let world = again(&world, &["db.ram"]).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(state(&world), Some(WorkloadState::Waiting));
        let peer = takes(&world, 2).await;
        world.agent.restored(&peer.caller).unwrap();
        let agent = &world.agent;
        agent.finish_session(&peer.caller, "db.ram").await.unwrap();
        assert!(agent.plan().obstacles.is_empty());
    });
}

#[test]
fn what_nobody_owns_is_told() {
    run(async {
        let kernel = Fake::with_incoming(&["nobodys"]);
        kernel.lists_incoming();
        let world = World::new(OPEN, kernel);
        world.agent.start(Vec::new()).await.unwrap();
        assert_eq!(world.agent.tell_unowned().await, ["nobodys"]);
        let agent = &world.agent;
        let warned = agent.status().await.warnings.unwrap_or_default();
        assert!(
            warned.iter().any(|text| text.contains("nobodys")),
            "{warned:?}"
        );
        let report = agent.check_target(&world.target).await;
        let mut checks = report.checks.iter();
        let told = checks
            .find(|check| check.found.contains("nobodys"))
            .unwrap();
        assert_eq!(told.name, "running-state");
        let remedy = told.remedy.as_deref().unwrap_or_default();
        assert!(remedy.contains("`luoctl release --force NAME`"), "{told:?}");
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        world.kernel.refuse("RETRIEVE_SESSION");
        assert!(world.agent.release_or_force("nobodys", true).await.is_err());
        world.agent.release_or_force("nobodys", true).await.unwrap();
        assert!(world.agent.tell_unowned().await.is_empty());
        assert!(world.agent.status().await.warnings.is_none());
    });
}
